//! The copy of the crates that is mutated.

use super::Mutant;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// A workspace of its own with copies of the crates and of the museum.
pub(crate) struct Tree(PathBuf);

impl Tree {
    /// Copies what changed since the last time, so that cargo builds only that again.
    ///
    /// # Errors
    /// A file cannot be read or written, or the workspace's manifest lists no members.
    pub(crate) fn copy(target: &Path) -> Result<Tree, String> {
        let root = target.join("tree");
        let failed = |what: &str| {
            let what = what.to_owned();
            move |error: io::Error| format!("copy of {what}: {error}")
        };
        for directory in ["crates", "museum"] {
            mirror(Path::new(directory), &root.join(directory)).map_err(failed(directory))?;
        }
        fs::copy("Cargo.lock", root.join("Cargo.lock")).map_err(failed("Cargo.lock"))?;
        let manifest = fs::read_to_string("Cargo.toml").map_err(failed("Cargo.toml"))?;
        write_if_other(&root.join("Cargo.toml"), narrowed(&manifest)?.as_bytes())
            .map_err(failed("Cargo.toml"))?;
        Ok(Tree(root))
    }

    pub(crate) fn root(&self) -> &Path {
        &self.0
    }

    /// Applies a mutant's change, until the result is dropped.
    ///
    /// # Errors
    /// The original text is not in the file exactly once.
    pub(crate) fn patch(&self, mutant: &Mutant) -> Result<Patched, String> {
        let path = self.0.join(&mutant.file);
        let failed = |error: io::Error| format!("{}: {error}", mutant.file);
        let before = fs::read_to_string(&path).map_err(failed)?;
        let places = before.matches(&mutant.original).count();
        if places != 1 {
            return Err(format!("does not apply: its text is {places} times in {}", mutant.file));
        }
        fs::write(&path, before.replacen(&mutant.original, &mutant.replacement, 1)).map_err(failed)?;
        Ok(Patched { path, before })
    }
}

/// A changed file; dropping it puts the text back.
pub(crate) struct Patched {
    path: PathBuf,
    before: String,
}

impl Drop for Patched {
    fn drop(&mut self) {
        if let Err(error) = fs::write(&self.path, &self.before) {
            eprintln!("{}: cannot be put back: {error}", self.path.display());
        }
    }
}

/// The workspace's manifest with nothing in it but the crates and the museum.
fn narrowed(manifest: &str) -> Result<String, String> {
    let (mut narrow, mut found) = (String::new(), false);
    for line in manifest.lines() {
        if line.starts_with("members = ") {
            found = true;
            narrow.push_str("members = [\"crates/*\", \"museum\"]\n");
        } else if !line.starts_with("default-members = ") && !line.starts_with("exclude = ") {
            narrow.push_str(line);
            narrow.push('\n');
        }
    }
    if found { Ok(narrow) } else { Err("Cargo.toml lists no members".to_owned()) }
}

/// Makes `to` the same as `from`: files that differ are written, files that are no longer there go.
fn mirror(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(to)? {
        let entry = entry?;
        if !from.join(entry.file_name()).exists() {
            let path = entry.path();
            if path.is_dir() { fs::remove_dir_all(path)? } else { fs::remove_file(path)? }
        }
    }
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (source, copy) = (entry.path(), to.join(entry.file_name()));
        if !source.is_dir() {
            write_if_other(&copy, &fs::read(source)?)?;
        } else if entry.file_name() != "target" {
            mirror(&source, &copy)?;
        }
    }
    Ok(())
}

fn write_if_other(path: &Path, bytes: &[u8]) -> io::Result<()> {
    if fs::read(path).is_ok_and(|there| there == bytes) { Ok(()) } else { fs::write(path, bytes) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copied_workspace_has_no_members_but_the_crates_and_the_museum() {
        let narrow =
            narrowed("[workspace]\nmembers = [\"crates/*\", \"xtask\"]\nexclude = [\"fuzz\"]\n").unwrap();
        assert_eq!(narrow, "[workspace]\nmembers = [\"crates/*\", \"museum\"]\n");
        assert!(narrowed("[package]\n").is_err());
    }

    #[test]
    fn a_patch_applies_once_and_is_taken_back() {
        let scratch = tempfile::tempdir().unwrap();
        let tree = Tree(scratch.path().to_owned());
        let file = scratch.path().join("a.rs");
        fs::write(&file, "one two two").unwrap();
        let mutant = |original: &str| {
            toml::from_str::<Mutant>(&format!(
                "name='m'\nfile='a.rs'\noriginal='{original}'\nreplacement='2'\nchecker='loom'\ntest='t'"
            ))
            .unwrap()
        };
        let patched = tree.patch(&mutant("one")).unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "2 two two");
        drop(patched);
        assert_eq!(fs::read_to_string(&file).unwrap(), "one two two");
        assert!(tree.patch(&mutant("two")).is_err(), "twice");
        assert!(tree.patch(&mutant("three")).is_err(), "not there");
    }
}
