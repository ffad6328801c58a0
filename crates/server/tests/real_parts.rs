//! Tests with parts that were written by others. Where a part is missing they are listed as ignored, with the reason.

fn main() {
    let arguments = libtest_mimic::Arguments::from_args();
    libtest_mimic::run(&arguments, Vec::new()).exit();
}
