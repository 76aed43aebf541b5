//! Readies the console for what is written to it: by default it shows the codes that remove a line or colour it.

use winapi_util::console::Console;

pub(super) fn prepare() {
    // One that is no console fails, and needs nothing.
    for console in [Console::stdout(), Console::stderr()] {
        drop(console.and_then(|mut it| it.set_virtual_terminal_processing(true)));
    }
}
