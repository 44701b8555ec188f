//! Replays every file of the fuzzers' corpora through its target, without a fuzzer.

#[path = "../fuzz/src/lib.rs"]
#[expect(unreachable_pub, reason = "a crate of its own where it is fuzzed")]
mod targets;

use std::{fs, path::Path};

#[test]
fn every_file_of_every_corpus_is_as_its_target_wants_it() {
    let corpora = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    for (name, target) in targets::TARGETS {
        let files: Vec<_> = fs::read_dir(corpora.join(name))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        assert!(files.len() >= 5, "the corpus of {name} is gone");
        for file in files {
            let bytes = fs::read(&file).unwrap();
            // Tests show what was printed only when they fail.
            eprintln!("{}", file.display());
            target(&bytes);
        }
    }
}

#[test]
fn every_target_is_a_program_with_a_corpus() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    let names = |part: &str| -> Vec<String> {
        let entries = fs::read_dir(folder.join(part)).unwrap();
        let mut names: Vec<String> = entries
            .map(|entry| {
                entry
                    .unwrap()
                    .path()
                    .file_stem()
                    .unwrap()
                    .to_string_lossy()
                    .into_owned()
            })
            .collect();
        names.sort();
        names
    };
    let targets = targets::TARGETS.map(|(name, _)| name.to_owned()).to_vec();
    assert_eq!((names("fuzz_targets"), names("corpus")), (targets.clone(), targets));
}
