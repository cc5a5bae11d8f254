//! The library of the function `museum-benefactor`.

pub mod controller;
