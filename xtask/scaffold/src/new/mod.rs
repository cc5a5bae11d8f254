//! Generates services, resources, routes, jobs and subscribers, and undoes what was generated.

mod block;
mod blueprint;
mod field;
mod json;
mod merge;
mod name;
mod regions;
mod reserved;
mod words;
