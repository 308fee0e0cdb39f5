//! Content decides the name of an image.
use super::Tree;
use std::path::PathBuf;

fn scratch(name: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("xtask-tree-{name}-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&path);
    path
}

fn tree(content: &str) -> Tree {
    let mut tree = Tree::new();
    tree.text("etc/motd", content, 0o644);
    tree
}

#[test]
fn the_same_content_is_written_once_and_other_content_elsewhere() {
    let directory = scratch("cache");
    let first = tree("hello").write(&directory, "t").unwrap();
    let again = tree("hello").write(&directory, "t").unwrap();
    let other = tree("world").write(&directory, "t").unwrap();
    assert_eq!(first, again);
    assert_ne!(first, other);
    assert!(first.is_file() && other.is_file());
    std::fs::remove_dir_all(directory).unwrap();
}

#[test]
fn old_images_make_room() {
    let directory = scratch("prune");
    for n in 0..7 {
        tree(&n.to_string()).write(&directory, "t").unwrap();
    }
    let left = std::fs::read_dir(&directory).unwrap().count();
    assert_eq!(left, super::KEPT_IMAGES);
    std::fs::remove_dir_all(directory).unwrap();
}

#[test]
fn a_dynamic_program_brings_its_libraries() {
    let mut tree = Tree::new();
    let myself = std::env::current_exe().unwrap();
    tree.program(&myself).unwrap();
    assert!(tree.entries.keys().any(|path| path.contains("libc.so")));
    assert!(tree.directories.contains("usr/bin"));
}
