//! The checked-in code is what the proto file generates. `make proto` rewrites it.

use std::{error::Error, fs, path::Path};

type Outcome = Result<(), Box<dyn Error>>;

const GENERATED: &str = "shoalwatch.node.v1alpha1.rs";

fn generate(into: &Path) -> Outcome {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let files = protox::compile([root.join("proto/distribution.proto")], [root.join("proto")])?;
    // Sorted maps make the encoding canonical, so that equal configurations hash alike.
    tonic_prost_build::configure()
        .btree_map(".")
        .out_dir(into)
        .compile_fds(files)?;
    Ok(())
}

#[test]
fn generated_code_is_what_the_proto_says() -> Outcome {
    let checked_in = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("src/generated")
        .join(GENERATED);
    let folder = tempfile::tempdir()?;
    generate(folder.path())?;
    let fresh = fs::read_to_string(folder.path().join(GENERATED))?;
    if std::env::var_os("SHOALWATCH_REGENERATE").is_some() {
        fs::write(&checked_in, &fresh)?;
    }
    let stale = fs::read_to_string(&checked_in)? != fresh;
    assert!(
        !stale,
        "the proto file changed: run `make proto` and commit {}",
        checked_in.display()
    );
    Ok(())
}
