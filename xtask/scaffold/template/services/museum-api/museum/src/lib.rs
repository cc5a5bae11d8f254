//! The library of all functions of museum-api. It has a module for each resource, route, job and subscriber, with the three
//! layers: controllers, which have the business rules; services, which the controllers use; and HTTP.

pub mod benefactor;
pub mod finissage;
pub mod specimens;
pub mod vernissage;
