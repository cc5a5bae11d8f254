// The prices of the unit tests, in the format of the build script.
const CURRENCY: [u8; 3] = *b"usd";
const TIERS: [(u32, u32); 3] = [(1, 400), (11, 200), (101, 100)];
const LIMIT: u32 = 999_999;
