//! The tree of PEs: look-ups, walks, marks, claims, orphans.

mod eeh;
mod model;
mod support;
mod tree;
