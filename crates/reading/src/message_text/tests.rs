//! Marks of plain texts. What whole messages are read as: `relay-matrix`, `events::messages`.

use super::*;

#[test]
fn a_plain_text_loses_the_marks_of_code_and_spoilers_and_nothing_else() {
    for (plain, text) in [
        ("run `ls -l` now", "run ls -l now"),
        ("``a ` b`` and ```c```", "a ` b and c"),
        ("```rust\nfn `x` {}\n```\nend", "fn `x` {}\nend"),
        ("```\nopen", "open"),
        ("||he dies||, ok", "he dies, ok"),
        ("a || b || c", "a || b || c"),
        ("||", "||"),
        ("a|b|c", "a|b|c"),
        ("it`s ` odd", "it`s ` odd"),
        (
            "*stars* _lines_ **two** ~~gone~~ # head",
            "*stars* _lines_ **two** ~~gone~~ # head",
        ),
        ("<b>not formatted</b> &amp;", "<b>not formatted</b> &amp;"),
        ("if a||b||c", "if a||b||c"),
        ("rock`n`roll", "rock`n`roll"),
        ("(||her name||), and `ls`.", "(her name), and ls."),
    ] {
        assert_eq!(without_marks(plain), text, "{plain}");
    }
}
