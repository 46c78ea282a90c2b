//! The engine against a scripted server whose every byte is known.

mod disk;
mod economy;
mod fake;
mod fuzz;
mod model;
mod random;
mod stuck;
mod versions;
mod whole;
