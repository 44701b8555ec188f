//! The committed eBPF object.

/// The object as `make ebpf` wrote it, aligned for the ELF reader.
pub(super) static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../node-ebpf/prebuilt/shoalwatch.bpf.o"
));

#[cfg(test)]
mod tests {
    use std::{
        fmt::Write as _,
        fs, io,
        path::{Path, PathBuf},
    };

    use sha2::{Digest, Sha256};

    /// The manifests and sources, as `build.sh` lists them.
    fn sources(root: &Path) -> io::Result<Vec<PathBuf>> {
        let mut found = vec![PathBuf::from("Cargo.toml"), PathBuf::from("common/Cargo.toml")];
        let mut folders = vec![PathBuf::from("src"), PathBuf::from("common/src")];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(root.join(&folder))? {
                let entry = entry?;
                let path = folder.join(entry.file_name());
                if entry.file_type()?.is_dir() {
                    folders.push(path);
                } else if path.extension().is_some_and(|extension| extension == "rs") {
                    found.push(path);
                }
            }
        }
        found.sort_by(|a, b| a.as_os_str().cmp(b.as_os_str()));
        Ok(found)
    }

    fn hex(bytes: impl AsRef<[u8]>) -> String {
        bytes.as_ref().iter().fold(String::new(), |mut text, byte| {
            write!(text, "{byte:02x}").unwrap();
            text
        })
    }

    #[test]
    fn sources_and_object_agree() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../node-ebpf");
        let mut listing = String::new();
        for path in sources(&root).unwrap() {
            let digest = hex(Sha256::digest(fs::read(root.join(&path)).unwrap()));
            writeln!(listing, "{digest}  {}", path.display()).unwrap();
        }
        let committed = fs::read_to_string(root.join("prebuilt/SOURCES.sha256")).unwrap();
        let now = hex(Sha256::digest(listing));
        assert_eq!(
            committed.trim(),
            now,
            "the eBPF sources changed: run `make ebpf` and commit what it writes"
        );
    }
}
