//! The library of the function `museum-vernissage`.

pub mod controller;
