//! Files that change under a running program, as a kubelet writes them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Result;

/// A directory whose files are replaced all at once: each is a symbolic link through `..data`,
/// itself a symbolic link that is exchanged when the new files are complete.
#[derive(Debug)]
pub struct Mounted {
    directory: PathBuf,
    generation: usize,
    content: BTreeMap<String, Vec<u8>>,
}

impl Mounted {
    /// Makes the directory with its first files.
    pub fn new(directory: &Path, content: BTreeMap<String, Vec<u8>>) -> Result<Self> {
        std::fs::create_dir_all(directory)?;
        let mounted = Self {
            directory: directory.to_owned(),
            generation: 0,
            content,
        };
        mounted.write()?;
        Ok(mounted)
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.directory
    }

    /// Replaces the files, if any differs.
    pub fn replace(&mut self, content: BTreeMap<String, Vec<u8>>) -> Result<()> {
        if content == self.content {
            return Ok(());
        }
        self.content = content;
        self.generation += 1;
        self.write()
    }

    fn write(&self) -> Result<()> {
        let name = format!("..generation-{}", self.generation);
        let files = self.directory.join(&name);
        std::fs::create_dir(&files)?;
        for (file, bytes) in &self.content {
            std::fs::write(files.join(file), bytes)?;
        }
        let fresh = self.directory.join("..data_tmp");
        std::os::unix::fs::symlink(&name, &fresh)?;
        std::fs::rename(&fresh, self.directory.join("..data"))?;
        for file in self.content.keys() {
            let link = self.directory.join(file);
            if !link.is_symlink() {
                std::os::unix::fs::symlink(Path::new("..data").join(file), link)?;
            }
        }
        if let Some(previous) = self.generation.checked_sub(1) {
            std::fs::remove_dir_all(self.directory.join(format!("..generation-{previous}")))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn readers_see_the_new_files_and_nothing_of_the_old() {
        let directory = std::env::temp_dir().join(format!("mounted-{}", std::process::id()));
        let files = |content: &[(&str, &str)]| {
            let files = content.iter();
            files
                .map(|(name, text)| ((*name).to_owned(), text.as_bytes().to_vec()))
                .collect()
        };
        let read = |name: &str| std::fs::read_to_string(directory.join(name));
        let mut mounted = Mounted::new(&directory, files(&[("a", "1"), ("b", "2")])).unwrap();
        assert_eq!(
            (read("a").unwrap(), read("b").unwrap()),
            ("1".to_owned(), "2".to_owned())
        );
        mounted.replace(files(&[("a", "3"), ("c", "4")])).unwrap();
        assert_eq!(
            (read("a").unwrap(), read("c").unwrap()),
            ("3".to_owned(), "4".to_owned())
        );
        assert!(read("b").is_err());
        std::fs::remove_dir_all(directory).unwrap();
    }
}
