//! What can happen to files while nobody looks.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::random::Random;

/// Does one damage at random to a file under `directory`; says what.
pub(crate) fn one(directory: &Path, random: &mut Random) -> String {
    let files = files(directory);
    if files.is_empty() {
        return "nothing left to damage".to_owned();
    }
    let path = choose(&files, random);
    let name = path.strip_prefix(directory).unwrap().display().to_string();
    let file = File::options().read(true).write(true).open(path).unwrap();
    let length = file.metadata().unwrap().len();
    let what = match random.below(10) {
        0..=2 => flip(&file, length, random),
        3 => overwrite(&file, length, random, &[0; 4096], "a zeroed page"),
        4 => {
            let noise: Vec<u8> = (0..1 + random.below(9000))
                .map(|_| random.next() as u8)
                .collect();
            overwrite(&file, length, random, &noise, "noise")
        }
        5 => {
            let shorter = random.below(length + 1);
            file.set_len(shorter).unwrap();
            format!("truncated to {shorter} of {length}")
        }
        6 => {
            let more = vec![random.next() as u8; usize::try_from(1 + random.below(9000)).unwrap()];
            file.write_all_at(&more, length).unwrap();
            format!("{} bytes appended", more.len())
        }
        7 => swap(path, choose(&files, random), directory),
        8 => move_within(&file, length, random),
        _ => {
            fs::remove_file(path).unwrap();
            "deleted".to_owned()
        }
    };
    format!("{name}: {what}")
}

/// Every kind of file as often as the others: there are far more of some.
fn choose<'a>(files: &'a [PathBuf], random: &mut Random) -> &'a PathBuf {
    let mut kinds: Vec<_> = files.iter().map(|path| path.extension()).collect();
    kinds.sort_unstable();
    kinds.dedup();
    let kind = *random.pick(&kinds);
    let of_kind: Vec<&PathBuf> = files
        .iter()
        .filter(|path| path.extension() == kind)
        .collect();
    let chosen: &&PathBuf = random.pick(&of_kind);
    chosen
}

/// Plain files under a directory, in order.
fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut directories = vec![directory.to_owned()];
    while let Some(next) = directories.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let entry = entry.unwrap();
            let kind = entry.file_type().unwrap();
            if kind.is_dir() {
                directories.push(entry.path());
            } else if kind.is_file() {
                found.push(entry.path());
            }
        }
    }
    found.sort();
    found
}

fn flip(file: &File, length: u64, random: &mut Random) -> String {
    if length == 0 {
        return "empty: let be".to_owned();
    }
    // Half of them near the beginning, where headers are.
    let end = if random.below(2) == 0 {
        length.min(600)
    } else {
        length
    };
    let at = random.below(end);
    let bit = random.below(8);
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 1 << bit], at).unwrap();
    format!("bit {bit} of byte {at} flipped")
}

fn overwrite(file: &File, length: u64, random: &mut Random, with: &[u8], what: &str) -> String {
    let at = random.below(length + 1);
    let at = if random.below(2) == 0 {
        at - at % 4096
    } else {
        at
    };
    let most = usize::try_from(length - at)
        .unwrap_or(usize::MAX)
        .min(with.len());
    file.write_all_at(&with[..most], at).unwrap();
    format!("{what} at {at}")
}

fn swap(one: &Path, other: &Path, directory: &Path) -> String {
    let between = directory.join("between");
    fs::rename(one, &between).unwrap();
    if one != other {
        fs::rename(other, one).unwrap();
    }
    fs::rename(&between, other).unwrap();
    format!(
        "swapped with {}",
        other.strip_prefix(directory).unwrap().display()
    )
}

fn move_within(file: &File, length: u64, random: &mut Random) -> String {
    let mut piece = vec![0; usize::try_from(length.min(8192)).unwrap()];
    let room = length - piece.len() as u64 + 1;
    let (from, to) = (random.below(room), random.below(room));
    file.read_exact_at(&mut piece, from).unwrap();
    file.write_all_at(&piece, to).unwrap();
    format!("{} bytes copied from {from} to {to}", piece.len())
}
