//! The eBPF programs: what the kernel runs when an observed process talks HTTP/1.x.
//!
//! One tracepoint at the exit of every system call is the whole tracer ([`exit`]): the registers still hold number, descriptor,
//! buffer and length there, and the result is known. No entry hook, and where fields of the kernel's structures lie the loader reads
//! from its types. Two small programs bring the news of processes.
//!
//! The way of a request: `sys_exit` → is the process observed? → which call, on which [`socket`]? → [`connection`], which
//! pairs what was asked with what is answered → [`finish`], which counts it, decides whether it becomes a span, and sends what
//! user space has to see. It recognises one shape only and never guesses: of any other connection user space is told every
//! transfer, by [`raw`].
//!
//! Built by `build.sh` for `bpfel-unknown-none`; the object is committed under `prebuilt/`.

#![cfg_attr(target_arch = "bpf", no_std, no_main, feature(asm_experimental_arch))]
#![expect(
    unsafe_code,
    reason = "kernel helpers, user memory and map values are reached through raw pointers"
)]
#![expect(
    clippy::cast_possible_truncation,
    reason = "registers hold narrower values, and lengths are bounded before"
)]
#![expect(
    clippy::inline_always,
    reason = "a call between BPF functions is dearer than its body, and `inline` is not obeyed"
)]

mod ahead;
mod buffer;
mod connection;
mod exit;
mod finish;
mod hold;
mod maps;
mod process;
mod raw;
mod registers;
mod socket;
mod socket_state;
mod stats;
mod sys_exit;
mod threads;

#[cfg(target_arch = "bpf")]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

/// For any other target this is an empty program: the sources can be checked and linted with stable Rust.
#[cfg(not(target_arch = "bpf"))]
fn main() {}

/// The kernel gives the helpers used here only to programs under a licence compatible with the GPL.
#[cfg_attr(target_arch = "bpf", unsafe(link_section = "license"))]
#[unsafe(no_mangle)]
static LICENSE: [u8; 4] = *b"GPL\0";
