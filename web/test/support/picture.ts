import { crc32, deflateSync } from "node:zlib";

const WIDTH = 480;
const HEIGHT = 270;

/** A PNG image of a sky and a meadow: https://www.w3.org/TR/png/#5DataRep */
export function picture(): Buffer {
  const rows = Array.from({ length: HEIGHT }, (_, y) => {
    const row = Buffer.alloc(1 + WIDTH * 3);
    for (let x = 0; x < WIDTH; x += 1) row.set(color(x, y), 1 + x * 3);
    return row;
  });
  const header = Buffer.alloc(13);
  header.writeUInt32BE(WIDTH, 0);
  header.writeUInt32BE(HEIGHT, 4);
  header.set([8, 2], 8); // 8 bits a channel, no alpha
  const signature = Buffer.from("\x89PNG\r\n\x1a\n", "latin1");
  const data = deflateSync(Buffer.concat(rows));
  return Buffer.concat([signature, chunk("IHDR", header), chunk("IDAT", data), chunk("IEND", Buffer.alloc(0))]);
}

function color(x: number, y: number): [number, number, number] {
  const horizon = HEIGHT * 0.62 + Math.sin(x / 70) * 16;
  if (y < horizon) return [150 + y * 0.4, 190 + y * 0.2, 225];
  return [96, 150 - (y - horizon) * 0.4, 92];
}

function chunk(type: string, data: Buffer): Buffer {
  const body = Buffer.concat([Buffer.from(type), data]);
  const frame = Buffer.alloc(8);
  frame.writeUInt32BE(data.length, 0);
  frame.writeUInt32BE(crc32(body), 4);
  return Buffer.concat([frame.subarray(0, 4), body, frame.subarray(4)]);
}
