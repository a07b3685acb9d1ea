//! The nearest valid value to a mistaken one, for hints.

/// The candidates nearest to `wrong`, best first, at most `most`; none that is nothing like it.
///
/// Distance is Damerau-Levenshtein in its restricted form (insert, delete, replace, swap of neighbours).
pub fn nearest<'a>(wrong: &str, candidates: impl IntoIterator<Item = &'a str>, most: usize) -> Vec<&'a str> {
    let limit = wrong.chars().count().max(3) / 3 + 1;
    let mut ranked: Vec<(usize, &str)> = candidates
        .into_iter()
        .map(|candidate| {
            let long = wrong.len() >= 3 && candidate.len() >= 3;
            let contains = long && (candidate.contains(wrong) || wrong.contains(candidate));
            (if contains { 1 } else { distance(wrong, candidate) }, candidate)
        })
        .filter(|(distance, _)| *distance <= limit)
        .collect();
    ranked.sort();
    ranked.dedup();
    ranked.into_iter().take(most).map(|(_, candidate)| candidate).collect()
}

fn distance(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.to_lowercase().chars().collect();
    let b: Vec<char> = b.to_lowercase().chars().collect();
    let mut rows: Vec<Vec<usize>> = vec![(0..=b.len()).collect()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let replace = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = replace.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typo_finds_its_word_and_nonsense_finds_none() {
        assert_eq!(nearest("cluade", ["claude", "codex", "pi"], 3), ["claude"]);
        assert_eq!(nearest("fix", ["fix-42", "add-tests"], 3), ["fix-42"]);
        assert!(nearest("zzzzzz", ["claude", "codex"], 3).is_empty());
    }
}
