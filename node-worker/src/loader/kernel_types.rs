//! Where the fields of the running kernel's structures lie, read from its BTF
//! (<https://docs.kernel.org/bpf/btf.html>).
//!
//! Rust's eBPF target writes no relocations, so what other loaders patch into the program the worker reads itself and passes as
//! read-only variables.

use std::{fs, io};

/// The kernel's own type information.
const VMLINUX: &str = "/sys/kernel/btf/vmlinux";
const MAGIC: u16 = 0xeb9f;
/// Structures within structures that are looked through for an unnamed member's fields.
const MAX_DEPTH: u32 = 8;

/// Why no offsets could be read.
#[derive(Debug, thiserror::Error)]
pub enum TypesError {
    /// The kernel was built without it, or `/sys` is not mounted.
    #[error("{VMLINUX} cannot be read: the kernel needs CONFIG_DEBUG_INFO_BTF, and /sys must be mounted")]
    Unreadable(#[source] io::Error),
    /// The file is not what it should be.
    #[error("{VMLINUX} is not BTF that this worker understands: report the kernel's release")]
    Malformed,
    /// The loader does not understand it.
    #[error("{VMLINUX} is not BTF that the loader understands: report the kernel's release")]
    Unusable(#[source] aya::BtfError),
    /// The kernel's structures changed beyond what was foreseen.
    #[error("the kernel's type information has no {structure}.{field} where it should be: report the kernel's release")]
    Field {
        /// The structure.
        structure: &'static str,
        /// Its field.
        field: &'static str,
    },
}

/// Byte offsets, named as [`shoalwatch_ebpf_common::globals`] names the variables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FieldOffsets {
    pub(super) task_pid: u32,
    pub(super) task_files: u32,
    pub(super) task_works: u32,
    pub(super) file_work: u32,
    pub(super) files_fdt: u32,
    pub(super) fdtable_max_fds: u32,
    pub(super) file_private_data: u32,
    pub(super) socket_type: u32,
    pub(super) socket_file: u32,
    pub(super) socket_inode: u32,
    pub(super) sock_socket: u32,
    pub(super) sock_family: u32,
    pub(super) sock_daddr: u32,
    pub(super) sock_v6_daddr: u32,
    pub(super) sock_dport: u32,
}

impl FieldOffsets {
    /// Reads them from the running kernel.
    pub(super) fn read() -> Result<Self, TypesError> {
        Self::find(&fs::read(VMLINUX).map_err(TypesError::Unreadable)?)
    }

    fn find(btf: &[u8]) -> Result<Self, TypesError> {
        let types = Types::parse(btf).ok_or(TypesError::Malformed)?;
        let field = |structure, field| {
            types
                .field(structure, field)
                .ok_or(TypesError::Field { structure, field })
        };
        let follows = |structure, first, distance, second| {
            let at = field(structure, first)?;
            if field(structure, second)? == at + distance {
                return Ok(at);
            }
            Err(TypesError::Field {
                structure,
                field: second,
            })
        };
        // The address of a `struct sock` has to be that of its `__sk_common`.
        if field("sock", "__sk_common")? != 0 {
            return Err(TypesError::Malformed);
        }
        Ok(Self {
            task_pid: field("task_struct", "pid")?,
            task_files: field("task_struct", "files")?,
            task_works: field("task_struct", "task_works")?,
            // From Linux 6.5 on, before, and up to 5.17.
            file_work: ["f_task_work", "f_rcuhead", "f_u"]
                .into_iter()
                .find_map(|name| types.field("file", name))
                .ok_or(TypesError::Field {
                    structure: "file",
                    field: "f_task_work",
                })?,
            files_fdt: field("files_struct", "fdt")?,
            fdtable_max_fds: follows("fdtable", "max_fds", 8, "fd")?,
            file_private_data: field("file", "private_data")?,
            socket_type: field("socket", "type")?,
            socket_file: follows("socket", "file", 8, "sk")?,
            // The socket comes first in its allocation.
            socket_inode: field("socket_alloc", "vfs_inode")? + field("inode", "i_ino")?,
            sock_socket: field("sock", "sk_socket")?,
            sock_family: field("sock_common", "skc_family")?,
            sock_daddr: field("sock_common", "skc_daddr")?,
            sock_v6_daddr: field("sock_common", "skc_v6_daddr")?,
            sock_dport: field("sock_common", "skc_dport")?,
        })
    }
}

/// Kinds of types, as the format numbers them.
mod kind {
    pub(super) const INT: u32 = 1;
    pub(super) const ARRAY: u32 = 3;
    pub(super) const STRUCT: u32 = 4;
    pub(super) const UNION: u32 = 5;
    pub(super) const ENUM: u32 = 6;
    pub(super) const FUNC_PROTO: u32 = 13;
    pub(super) const VAR: u32 = 14;
    pub(super) const DATASEC: u32 = 15;
    pub(super) const DECL_TAG: u32 = 17;
    pub(super) const ENUM64: u32 = 19;
}

/// Bytes of a type before what its kind adds, and of one member of a structure.
const TYPE_BYTES: usize = 12;

struct Types<'a> {
    all: &'a [u8],
    strings: &'a [u8],
    /// Where each type begins; number 0 is `void` and has none.
    begins: Vec<usize>,
}

#[derive(Clone, Copy)]
struct Type {
    name: u32,
    kind: u32,
    members: u32,
    bit_fields: bool,
    /// Where the members begin.
    rest: usize,
}

impl<'a> Types<'a> {
    fn parse(btf: &'a [u8]) -> Option<Self> {
        let magic = u16::from_ne_bytes(btf.first_chunk().copied()?);
        if magic != MAGIC {
            return None;
        }
        let word = |index: usize| u32_at(btf, index).and_then(|word| usize::try_from(word).ok());
        let body = btf.get(word(4)?..)?;
        let types = body.get(word(8)?..)?.get(..word(12)?)?;
        let strings = body.get(word(16)?..)?.get(..word(20)?)?;
        let mut found = Self {
            all: types,
            strings,
            begins: vec![0],
        };
        let mut at = 0;
        while at < types.len() {
            found.begins.push(at);
            at = found.at(at)?.end()?;
        }
        Some(found)
    }

    fn at(&self, at: usize) -> Option<Type> {
        let info = u32_at(self.all, at + 4)?;
        Some(Type {
            name: u32_at(self.all, at)?,
            kind: info >> 24 & 0x1f,
            members: info & 0xffff,
            bit_fields: info >> 31 == 1,
            rest: at + TYPE_BYTES,
        })
    }

    fn name(&self, offset: u32) -> Option<&'a [u8]> {
        let text = self.strings.get(usize::try_from(offset).ok()?..)?;
        text.split(|byte| *byte == 0).next()
    }

    /// The byte offset of a field of a structure, also of one within its unnamed members.
    fn field(&self, structure: &str, field: &str) -> Option<u32> {
        let named = |begin: &&usize| {
            self.at(**begin).is_some_and(|found| {
                found.kind == kind::STRUCT && self.name(found.name) == Some(structure.as_bytes()) && found.members > 0
            })
        };
        let begin = self.begins.get(1..)?.iter().find(named)?;
        self.field_of(self.at(*begin)?, field.as_bytes(), MAX_DEPTH)
    }

    fn field_of(&self, structure: Type, field: &[u8], depth: u32) -> Option<u32> {
        (0..structure.members as usize).find_map(|index| {
            let at = structure.rest + index * TYPE_BYTES;
            let (name, of, bits) = (
                u32_at(self.all, at)?,
                u32_at(self.all, at + 4)?,
                u32_at(self.all, at + 8)?,
            );
            let bits = if structure.bit_fields { bits & 0xff_ffff } else { bits };
            let name = self.name(name)?;
            if name == field {
                return (bits % 8 == 0).then_some(bits / 8);
            }
            if !name.is_empty() || depth == 0 {
                return None;
            }
            let inner = self.at(*self.begins.get(usize::try_from(of).ok()?)?)?;
            let within = matches!(inner.kind, kind::STRUCT | kind::UNION)
                .then(|| self.field_of(inner, field, depth - 1))
                .flatten()?;
            Some(bits / 8 + within)
        })
    }
}

impl Type {
    /// Where the next type begins.
    fn end(self) -> Option<usize> {
        let members = self.members as usize;
        let more = match self.kind {
            kind::INT | kind::VAR | kind::DECL_TAG => 4,
            kind::ARRAY => 12,
            kind::STRUCT | kind::UNION | kind::DATASEC | kind::ENUM64 => members * 12,
            kind::ENUM | kind::FUNC_PROTO => members * 8,
            1..=kind::ENUM64 => 0,
            _ => return None,
        };
        Some(self.rest + more)
    }
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|word| u32::from_ne_bytes(*word))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file with `struct outer { int a; struct { int b; union { int c; }; }; }`.
    fn example() -> Vec<u8> {
        let strings = b"\0int\0outer\0a\0b\0c\0";
        let name = |text: &[u8]| {
            let at = strings
                .windows(text.len() + 1)
                .position(|window| window == [text, b"\0"].concat());
            u32::try_from(at.unwrap()).unwrap()
        };
        let kind = |kind: u32, members: u32| kind << 24 | members;
        let types: Vec<u32> = vec![
            name(b"int"),
            kind(1, 0),
            4,
            32,
            name(b"outer"),
            kind(4, 2),
            12,
            name(b"a"),
            1,
            0,
            0,
            3,
            32,
            0,
            kind(4, 2),
            8,
            name(b"b"),
            1,
            0,
            0,
            4,
            32,
            0,
            kind(5, 1),
            4,
            name(b"c"),
            1,
            0,
        ];
        let types: Vec<u8> = types.into_iter().flat_map(u32::to_ne_bytes).collect();
        let (types_len, strings_len) = (
            u32::try_from(types.len()).unwrap(),
            u32::try_from(strings.len()).unwrap(),
        );
        let mut file = MAGIC.to_ne_bytes().to_vec();
        file.extend([1, 0]);
        file.extend(
            [24, 0, types_len, types_len, strings_len]
                .into_iter()
                .flat_map(u32::to_ne_bytes),
        );
        file.extend(types);
        file.extend(strings);
        file
    }

    #[test]
    fn fields_of_unnamed_members_are_found_at_their_place_in_the_whole() {
        let file = example();
        let types = Types::parse(&file).unwrap();
        let offsets = ["a", "b", "c", "d"].map(|field| types.field("outer", field));
        assert_eq!(offsets, [Some(0), Some(4), Some(8), None]);
        assert_eq!(types.field("inner", "a"), None);
    }

    #[test]
    fn a_file_cut_anywhere_or_of_another_kind_is_refused_without_panic() {
        let file = example();
        for end in 0..file.len() {
            assert!(matches!(FieldOffsets::find(&file[..end]), Err(TypesError::Malformed)));
        }
        assert!(matches!(FieldOffsets::find(&[0; 64]), Err(TypesError::Malformed)));
        assert!(matches!(
            FieldOffsets::find(&file),
            Err(TypesError::Field { structure: "sock", .. })
        ));
    }
}
