//! The library of the function `museum-finissage`.

pub mod controller;
