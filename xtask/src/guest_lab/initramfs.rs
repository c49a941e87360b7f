//! Packs the guest's root file system: busybox, the recipe's programs with their shared libraries, modules and `/init`.
//!
//! The archive is not compressed: under software emulation the guest would spend seconds on unpacking what the host
//! copies in milliseconds.

use super::cpio::Archive;
use super::{During, Lab, LabError, modules, recipe, shell_out};
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

/// Directories of the guest. Busybox's applets go to `/bin`, which comes last in the guest's PATH.
const DIRECTORIES: &[&str] = &[
    "bin",
    "dev",
    "etc",
    "lib",
    "lib/modules",
    "lib/x86_64-linux-gnu",
    "lib64",
    "mnt",
    "proc",
    "run",
    "sys",
    "tmp",
    "usr",
    "usr/bin",
    "usr/sbin",
    "usr/share",
    "usr/share/misc",
];

/// The name of the dynamic loader that programs ask for.
const LOADER: &str = "lib64/ld-linux-x86-64.so.2";

/// Writes the initramfs of `lab` for the kernel `release` to `output`.
///
/// # Errors
/// [`LabError::Missing`] when the unpacked root lacks something, [`LabError::Program`], or an I/O error.
pub(super) fn write(lab: &Lab, release: &str, output: &Path) -> Result<(), LabError> {
    let file = File::create(output).during(|| format!("create {}", output.display()))?;
    let mut packer = Packer { lab, archive: Archive::new(BufWriter::new(file)) };
    for path in DIRECTORIES {
        packer.put(|archive| archive.directory(path))?;
    }
    packer.put(|archive| archive.file("init", recipe::INIT.as_bytes()))?;
    packer.copy("usr/bin/busybox", "bin/busybox")?;
    packer.put(|archive| archive.symlink("bin/sh", "busybox"))?;
    for path in recipe::GUEST_PROGRAMS.iter().chain(recipe::GUEST_FILES) {
        packer.copy(path, path)?;
    }
    packer.libraries()?;
    packer.modules(release)?;
    packer.archive.finish().during(|| "end the initramfs".into())?;
    Ok(())
}

struct Packer<'a, W: Write> {
    lab: &'a Lab,
    archive: Archive<W>,
}

impl<W: Write> Packer<'_, W> {
    fn put(&mut self, add: impl FnOnce(&mut Archive<W>) -> std::io::Result<()>) -> Result<(), LabError> {
        add(&mut self.archive).during(|| "write the initramfs".into())
    }

    /// Copies a file of the unpacked root, through links.
    fn copy(&mut self, from: &str, to: &str) -> Result<(), LabError> {
        let data = fs::read(self.lab.root().join(from)).map_err(|_| LabError::Missing(from.into()))?;
        self.put(|archive| archive.file(to, &data))
    }

    /// Adds the libraries of the recipe's programs, in one directory, and the loader.
    fn libraries(&mut self) -> Result<(), LabError> {
        self.copy(LOADER, LOADER)?;
        let mut libraries = BTreeSet::new();
        for program in recipe::GUEST_PROGRAMS {
            let listing =
                shell_out::text(self.lab.loader().arg("--list").arg(self.lab.root().join(program)))?;
            libraries.extend(library_paths(&listing)?);
        }
        for path in libraries {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let data = fs::read(&path).during(|| format!("read {}", path.display()))?;
            self.put(|archive| archive.file(&format!("lib/x86_64-linux-gnu/{name}"), &data))?;
        }
        Ok(())
    }

    /// Adds the recipe's modules, unpacked, and `etc/modules` with the order to load them in.
    fn modules(&mut self, release: &str) -> Result<(), LabError> {
        let root = self.lab.root();
        let depmod = ["-b".as_ref(), root.as_os_str(), release.as_ref()];
        shell_out::output(self.lab.program_as("usr/bin/kmod", "depmod").args(depmod))?;
        let directory = root.join("usr/lib/modules").join(release);
        let read = |name: &str| {
            fs::read_to_string(directory.join(name))
                .map_err(|_| LabError::Missing(format!("{name} of {release}")))
        };
        let (dep, builtin) = (read("modules.dep")?, read("modules.builtin")?);
        let order = modules::load_order(recipe::MODULES, &dep, &builtin)
            .map_err(|name| LabError::Missing(format!("kernel module {name}")))?;
        let mut list = String::new();
        for file in order {
            let path = directory.join(file);
            let data = if file.ends_with(".xz") {
                shell_out::output(self.lab.program("usr/bin/xz").args(["-dc".as_ref(), path.as_os_str()]))?
            } else {
                fs::read(&path).during(|| format!("read {}", path.display()))?
            };
            let name = format!("lib/modules/{}.ko", modules::module_name(file));
            self.put(|archive| archive.file(&name, &data))?;
            list.push_str(&format!("/{name}\n"));
        }
        self.put(|archive| archive.file("etc/modules", list.as_bytes()))
    }
}

/// The files in the loader's listing: lines of the form `NAME => PATH (ADDRESS)`.
fn library_paths(listing: &str) -> Result<Vec<PathBuf>, LabError> {
    let mut paths = Vec::new();
    for (name, found) in listing.lines().filter_map(|line| line.split_once(" => ")) {
        let path = found.split_whitespace().next().unwrap_or_default();
        if !path.starts_with('/') {
            return Err(LabError::Missing(format!("library {}", name.trim())));
        }
        // The loader itself is there under the name that programs ask for.
        if !name.contains("ld-linux") {
            paths.push(PathBuf::from(path));
        }
    }
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_listing_gives_found_libraries_and_names_a_missing_one() {
        let found = "\tlinux-vdso.so.1 (0x7)\n\tlibz.so.1 => /r/libz.so.1 (0x1)\n\t/lib64/ld-linux-x86-64.so.2 => /r/ld.so (0x2)\n";
        assert_eq!(library_paths(found).unwrap(), [PathBuf::from("/r/libz.so.1")]);
        let error = library_paths("\tlibceph.so.2 => not found\n").unwrap_err();
        assert!(error.to_string().contains("libceph.so.2"), "{error}");
    }
}
