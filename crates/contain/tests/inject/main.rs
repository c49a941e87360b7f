//! Errors that somebody wants to happen (EEH-25, EEH-27).

mod force;
mod hits;
mod parse;
