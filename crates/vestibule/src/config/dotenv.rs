//! `.env`: `NAME=value` lines, read and never set into the process.

/// A line that is not understood.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct BadLine {
    /// Counted from 1.
    pub(super) number: usize,
    pub(super) problem: &'static str,
}

/// Reads a `.env` file: comments, `export`, single quotes (verbatim), double quotes (`\n`, `\t`, `\"`, `\\`). Total.
pub(super) fn parse(text: &str) -> Result<Vec<(String, String)>, BadLine> {
    let mut found = Vec::new();
    for (at, line) in text
        .strip_prefix('\u{feff}')
        .unwrap_or(text)
        .lines()
        .enumerate()
    {
        let bad = |problem| BadLine {
            number: at + 1,
            problem,
        };
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let line = line.strip_prefix("export ").map_or(line, str::trim_start);
        let (name, value) = line.split_once('=').ok_or(bad("it has no ="))?;
        let name = name.trim_end();
        if name.is_empty()
            || !name
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
        {
            return Err(bad("the name before = is not one of letters, digits and _"));
        }
        found.push((
            name.to_owned(),
            read_value(value.trim_start()).map_err(bad)?,
        ));
    }
    Ok(found)
}

fn read_value(value: &str) -> Result<String, &'static str> {
    let rest_is_comment = |rest: &str| {
        let rest = rest.trim_start();
        rest.is_empty() || rest.starts_with('#')
    };
    if let Some(quoted) = value.strip_prefix('\'') {
        let (inside, rest) = quoted
            .split_once('\'')
            .ok_or("a single quote is not closed on its line")?;
        return if rest_is_comment(rest) {
            Ok(inside.to_owned())
        } else {
            Err("something stands behind the closing quote")
        };
    }
    if let Some(quoted) = value.strip_prefix('"') {
        let mut inside = String::new();
        let mut chars = quoted.chars();
        loop {
            match chars
                .next()
                .ok_or("a double quote is not closed on its line")?
            {
                '"' => break,
                '\\' => match chars
                    .next()
                    .ok_or("a double quote is not closed on its line")?
                {
                    'n' => inside.push('\n'),
                    't' => inside.push('\t'),
                    'r' => inside.push('\r'),
                    other @ ('"' | '\\' | '$' | '`') => inside.push(other),
                    other => inside.extend(['\\', other]),
                },
                other => inside.push(other),
            }
        }
        return if rest_is_comment(chars.as_str()) {
            Ok(inside)
        } else {
            Err("something stands behind the closing quote")
        };
    }
    // A comment begins at a # that follows a blank: colours and fragments hold one without.
    let end = value
        .match_indices('#')
        .map(|(at, _)| at)
        .find(|at| *at == 0 || value[..*at].ends_with([' ', '\t']))
        .unwrap_or(value.len());
    Ok(value[..end].trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lines_are_read_as_people_write_them() {
        let text = "\u{feff}# comment\n\nA=1\nexport B = two words # comment\nC='#not $a \\n comment' # x\nD=\"a\\nb \\\"q\\\"\"\nE=#empty\nF=a#b\nG=\r\n";
        let read: Vec<(String, String)> = parse(text).unwrap();
        let expected = [
            ("A", "1"),
            ("B", "two words"),
            ("C", "#not $a \\n comment"),
            ("D", "a\nb \"q\""),
            ("E", ""),
            ("F", "a#b"),
            ("G", ""),
        ];
        assert_eq!(
            read,
            expected.map(|(name, value)| (name.to_owned(), value.to_owned()))
        );
    }

    #[test]
    fn a_line_that_is_not_understood_is_named_by_its_number() {
        for (text, number) in [
            ("A=1\nnonsense", 2),
            ("A='x", 1),
            ("A=\"x", 1),
            ("A=\"x\" y", 1),
            ("A B=1", 1),
            ("=1", 1),
        ] {
            assert_eq!(parse(text).unwrap_err().number, number, "{text:?}");
        }
    }

    proptest! {
        // S96
        #[test]
        fn reading_is_total(text in "[A-Z='\"# \\\\\n$é]{0,60}") {
            let _ = parse(&text);
        }
    }
}
