//! Rows of cells as text in aligned columns.

/// One line per row; each column is as wide as its widest cell, with two spaces between columns.
pub(crate) fn aligned(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells
            .map(|cell: &String| cell.chars().count())
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let cells = row.iter().zip(&widths);
        let cells: Vec<String> = cells
            .map(|(cell, width)| {
                // Not a width in `format!`, which may be no larger than a u16.
                let missing = width.saturating_sub(cell.chars().count());
                format!("{cell}{}", " ".repeat(missing))
            })
            .collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    #[test]
    fn columns_are_as_wide_as_they_must_be() {
        let rows = [["A", "LONG", "C"], ["\u{e9}\u{e9}", "b", ""]];
        let text = super::aligned(&rows.map(|row| row.map(str::to_owned).to_vec()));
        assert_eq!(text, "A   LONG  C\n\u{e9}\u{e9}  b\n");
        let long = "x".repeat(70_000);
        let text = super::aligned(&[vec![long.clone(), "b".to_owned()]]);
        assert_eq!(text, format!("{long}  b\n"));
    }
}
