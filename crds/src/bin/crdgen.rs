//! Writes the definitions of all kinds to `crds/yaml/`, or to the folder that is named as the only argument.

use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

fn main() -> ExitCode {
    match write_all() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nothing is left to do when not even this can be said.
            drop(writeln!(io::stderr(), "crdgen: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn write_all() -> Result<(), Box<dyn std::error::Error>> {
    let folder = std::env::args_os()
        .nth(1)
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("yaml"), PathBuf::from);
    fs::create_dir_all(&folder)?;
    for file in shoalwatch_crds::files()? {
        let path = folder.join(file.name);
        fs::write(&path, file.text)?;
        writeln!(io::stdout(), "{}", path.display())?;
    }
    Ok(())
}
