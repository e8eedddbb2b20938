//! Which items of a changed list are which items of the list before.

use serde_json::{Map, Value};

/// Lists longer than this, after cutting equal ends, are not aligned: the work grows with the
/// product.
const MAX_PRODUCT: usize = 1_000_000;

/// Pairs of indices (before, after), rising in both, that stand for the same item. None if it isn't
/// worth finding out.
pub(super) fn pairs(before: &[Value], after: &[Value]) -> Option<Vec<(usize, usize)>> {
    let clear = |(a, b): &(&Value, &Value)| likeness(a, b) == EQUAL || likeness(a, b) == SAME;
    let head = before.iter().zip(after).take_while(clear).count();
    let (rest_before, rest_after) = (&before[head..], &after[head..]);
    let tail = rest_before
        .iter()
        .rev()
        .zip(rest_after.iter().rev())
        .take_while(clear)
        .count();
    let middle_before = &rest_before[..rest_before.len() - tail];
    let middle_after = &rest_after[..rest_after.len() - tail];
    if middle_before.len().saturating_mul(middle_after.len()) > MAX_PRODUCT {
        return None;
    }
    let mut pairs: Vec<_> = (0..head).map(|index| (index, index)).collect();
    pairs.extend(
        best(middle_before, middle_after)
            .into_iter()
            .map(|(a, b)| (a + head, b + head)),
    );
    pairs.extend(
        (0..tail)
            .rev()
            .map(|index| (before.len() - 1 - index, after.len() - 1 - index)),
    );
    Some(pairs)
}

/// Equal in everything.
const EQUAL: u32 = 4;
/// Equal but for the name.
const RENAMED: u32 = 3;
/// The same name, and the same fields.
const SAME: u32 = 2;
/// The same name.
const NAMESAKE: u32 = 1;

/// How much two items look like the same one, changed: 0 for not at all.
fn likeness(before: &Value, after: &Value) -> u32 {
    if before == after {
        return EQUAL;
    }
    let (Value::Object(a), Value::Object(b)) = (before, after) else {
        return 0;
    };
    let agree = |key: &str| a.get(key) == b.get(key);
    let same_keys = a.len() == b.len() && a.keys().all(|key| b.contains_key(key));
    if a.contains_key("name") && agree("name") && agree("mountPath") {
        return if same_keys { SAME } else { NAMESAKE };
    }
    // Whole objects, in a list of them.
    let metadata = |object: &Map<String, Value>, key: &str| {
        object
            .get("metadata")
            .and_then(|metadata| metadata.get(key))
            .cloned()
    };
    let agree_in_metadata = |key: &str| metadata(a, key) == metadata(b, key);
    if a.contains_key("metadata")
        && agree("kind")
        && agree_in_metadata("name")
        && agree_in_metadata("namespace")
    {
        return if same_keys { SAME } else { NAMESAKE };
    }
    let renamed = same_keys && a.len() > 1 && a.keys().all(|key| key == "name" || agree(key));
    if renamed { RENAMED } else { 0 }
}

/// The alignment of the greatest total likeness.
fn best(before: &[Value], after: &[Value]) -> Vec<(usize, usize)> {
    let width = after.len() + 1;
    // scores[i * width + j]: what the items from i and j on can reach.
    let mut scores = vec![0_u32; (before.len() + 1) * width];
    for i in (0..before.len()).rev() {
        for j in (0..after.len()).rev() {
            let like = likeness(&before[i], &after[j]);
            let paired = if like > 0 {
                like + scores[(i + 1) * width + j + 1]
            } else {
                0
            };
            scores[i * width + j] = paired
                .max(scores[(i + 1) * width + j])
                .max(scores[i * width + j + 1]);
        }
    }
    let (mut i, mut j, mut pairs) = (0, 0, Vec::new());
    while i < before.len() && j < after.len() {
        let score = scores[i * width + j];
        if score == scores[(i + 1) * width + j] {
            i += 1;
        } else if score == scores[i * width + j + 1] {
            j += 1;
        } else {
            pairs.push((i, j));
            (i, j) = (i + 1, j + 1);
        }
    }
    pairs
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(before: Value, after: Value, expected: &[(usize, usize)]) {
        let (Value::Array(before), Value::Array(after)) = (before, after) else {
            panic!("lists only")
        };
        assert_eq!(
            pairs(&before, &after).as_deref(),
            Some(expected),
            "{before:?} {after:?}"
        );
    }

    #[test]
    fn items_are_found_again() {
        check(json!([]), json!([1]), &[]);
        check(json!([1, 2]), json!([1, 2, 3]), &[(0, 0), (1, 1)]);
        check(json!([1, 2]), json!([0, 1, 2]), &[(0, 1), (1, 2)]);
        check(json!([1, 2, 3]), json!([1, 3]), &[(0, 0), (2, 1)]);
        check(
            json!([{"name": "a", "value": 1}]),
            json!([{"name": "a", "value": 2}]),
            &[(0, 0)],
        );
        check(
            json!([{"name": "v", "mountPath": "/a"}, {"name": "v", "mountPath": "/b"}]),
            json!([{"name": "v", "mountPath": "/b"}]),
            &[(1, 0)],
        );
        // An entry renamed in place, with a new one of its old name behind it.
        check(
            json!([{"name": "A", "valueFrom": {"x": 1}}, {"name": "B", "value": "b"}]),
            json!([{"name": "O_A", "valueFrom": {"x": 1}}, {"name": "A", "value": "$(O_A)"}, {"name": "B", "value": "b"}]),
            &[(0, 0), (1, 2)],
        );
        let object =
            |name: &str, spec: u8| json!({"kind": "Pod", "metadata": {"name": name}, "spec": spec});
        check(
            json!([object("a", 1), object("b", 1)]),
            json!([object("b", 2)]),
            &[(1, 0)],
        );
        check(
            json!([{"name": "A", "value": "x"}]),
            json!([{"name": "B", "value": "x"}, {"name": "A", "value": "x"}]),
            &[(0, 1)],
        );
    }
}
