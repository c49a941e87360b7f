//! An order with a circle in it does not compile where it is declared.
mod ranks {
    gate::ranks! {
        /// Comes first, by its declaration.
        pub Plan = 20, "plan", before [Table];
        /// Comes first, by its number.
        pub Table = 10, "table";
    }
}

fn main() {}
