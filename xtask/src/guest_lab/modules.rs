//! Kernel modules the guest loads, in an order in which each finds what it needs.

use std::collections::{HashMap, HashSet};

/// The module files to load for `wanted`, dependencies first, as paths below the kernel's module directory.
///
/// `dep` and `builtin` are the texts of `modules.dep` and `modules.builtin`. A wanted module that is built in is left
/// out. `modules.dep` lists all dependencies of a module, those to load first at the end.
///
/// # Errors
/// The name of a wanted module that the kernel has in neither form.
pub(super) fn load_order<'a>(wanted: &[&str], dep: &'a str, builtin: &str) -> Result<Vec<&'a str>, String> {
    let built_in: HashSet<String> = builtin.lines().map(module_name).collect();
    let lines: HashMap<String, (&str, &str)> = dep
        .lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(path, needs)| (module_name(path), (path, needs)))
        .collect();
    let mut order = Vec::new();
    for &name in wanted {
        if built_in.contains(&module_name(name)) {
            continue;
        }
        let (path, needs) = lines.get(&module_name(name)).ok_or_else(|| name.to_owned())?;
        for file in needs.split_whitespace().rev().chain([*path]) {
            if !order.contains(&file) {
                order.push(file);
            }
        }
    }
    Ok(order)
}

/// `kernel/lib/libcrc32c.ko.xz` is `libcrc32c`; dashes and underscores are the same to the kernel.
pub(super) fn module_name(path: &str) -> String {
    let file = path.rsplit('/').next().unwrap_or(path);
    let name = file.split_once(".ko").map_or(file, |(name, _)| name);
    name.replace('-', "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEP: &str = "kernel/nvme.ko.xz: kernel/nvme-core.ko.xz kernel/t10-pi.ko.xz\n\
        kernel/nvme-core.ko.xz: kernel/t10-pi.ko.xz\nkernel/t10-pi.ko.xz:\nkernel/ext4.ko.xz: kernel/jbd2.ko.xz kernel/t10-pi.ko.xz\n";

    #[test]
    fn a_module_comes_after_what_it_needs_and_only_once() {
        let order = load_order(&["nvme", "ext4"], DEP, "").unwrap();
        assert_eq!(
            order,
            [
                "kernel/t10-pi.ko.xz",
                "kernel/nvme-core.ko.xz",
                "kernel/nvme.ko.xz",
                "kernel/jbd2.ko.xz",
                "kernel/ext4.ko.xz"
            ]
        );
    }

    #[test]
    fn a_built_in_module_is_left_out_and_an_unknown_one_is_named() {
        assert_eq!(load_order(&["virtio_pci"], DEP, "kernel/virtio-pci.ko\n"), Ok(vec![]));
        assert_eq!(load_order(&["nvem"], DEP, ""), Err("nvem".into()));
    }
}
