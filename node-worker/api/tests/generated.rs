//! The checked-in code is what the proto files generate. `make proto` rewrites it.

use std::{error::Error, fs, path::Path};

type Outcome = Result<(), Box<dyn Error>>;

const PROTOS: [&str; 2] = ["proto/distribution.proto", "proto/replicas.proto"];
const GENERATED: [&str; 2] = ["shoalwatch.node.v1alpha1.rs", "shoalwatch.operator.v1alpha1.rs"];

fn generate(into: &Path) -> Outcome {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let files = protox::compile(PROTOS.map(|proto| root.join(proto)), [root.join("proto")])?;
    // Sorted maps make the encoding canonical, so that equal configurations hash alike.
    tonic_prost_build::configure()
        .btree_map(".")
        .bytes(".shoalwatch.node.v1alpha1.Push.config")
        .out_dir(into)
        .compile_fds(files)?;
    Ok(())
}

#[test]
fn generated_code_is_what_the_proto_says() -> Outcome {
    let folder = tempfile::tempdir()?;
    generate(folder.path())?;
    for file in GENERATED {
        let checked_in = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/generated").join(file);
        let fresh = fs::read_to_string(folder.path().join(file))?;
        if std::env::var_os("SHOALWATCH_REGENERATE").is_some() {
            fs::write(&checked_in, &fresh)?;
        }
        let stale = fs::read_to_string(&checked_in)? != fresh;
        assert!(
            !stale,
            "a proto file changed: run `make proto` and commit {}",
            checked_in.display()
        );
    }
    Ok(())
}
