//! That there is something to take up.

/// Has whoever owns containment look soon. Called in any context: raising takes no lock, allocates nothing and waits for nobody.
/// Raised once or more often for each sign; a raised alarm is never lost, however often it is raised before somebody looks.
pub trait Alarm: Send + Sync {
    /// There is something to take up.
    fn raise(&self);
}

/// Nobody: whoever made containment has it take its turns. For tests, benchmarks and simulation.
impl Alarm for () {
    fn raise(&self) {}
}
