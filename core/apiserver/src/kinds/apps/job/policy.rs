//! What a Job's policies may say: which failures matter, and when enough succeeded.

use std::collections::BTreeSet;

use crate::kinds::errors::Errors;
use crate::kinds::field::Field;

const MOST_RULES: usize = 20;
const MOST_CODES: usize = 255;

/// Checks the pod failure policy.
pub(super) fn failure(spec: &Field<'_, '_>, errors: &mut Errors) {
    let policy = spec.get("podFailurePolicy");
    if !policy.present() {
        return;
    }
    let rules = policy.get("rules");
    if rules.len() > MOST_RULES {
        errors.too_many(&rules, MOST_RULES);
    }
    let template = spec.get("template");
    let pods = template.get("spec");
    let names: BTreeSet<&str> =
        pods.get("containers").strings_of("name").chain(pods.get("initContainers").strings_of("name")).collect();
    for rule in rules.items() {
        let action = rule.get("action");
        errors.one_of(&action, &["Count", "FailIndex", "FailJob", "Ignore"]);
        if action.text() == "FailIndex" && !spec.get("backoffLimitPerIndex").present() {
            errors.invalid(&action, "requires the backoffLimitPerIndex to be set");
        }
        let (codes, conditions) = (rule.get("onExitCodes"), rule.get("onPodConditions"));
        exit_codes(&codes, &names, errors);
        if conditions.len() > MOST_RULES {
            errors.too_many(&conditions, MOST_RULES);
        }
        for condition in conditions.items() {
            let type_ = condition.get("type");
            errors.invalid_each(&type_, windlass_api::names::qualified_name(type_.text()));
            errors.one_of(&condition.get("status"), &["False", "True", "Unknown"]);
        }
        match (codes.present(), !conditions.is_empty()) {
            (true, true) => errors.invalid(&rule, "specifying both OnExitCodes and OnPodConditions is not supported"),
            (false, false) => {
                errors.invalid(&rule, "specifying one of OnExitCodes and OnPodConditions is required");
            }
            _ => {}
        }
    }
}

fn exit_codes(codes: &Field<'_, '_>, names: &BTreeSet<&str>, errors: &mut Errors) {
    if !codes.present() {
        return;
    }
    let operator = codes.get("operator");
    errors.one_of(&operator, &["In", "NotIn"]);
    let container = codes.get("containerName");
    if container.present() && !names.contains(container.text()) {
        let detail = "must be one of the container or initContainer names in the pod template";
        errors.invalid(&container, detail);
    }
    let values = codes.get("values");
    if values.is_empty() {
        errors.invalid(&values, "at least one value is required");
    } else if values.len() > MOST_CODES {
        errors.too_many(&values, MOST_CODES);
    }
    let mut before = None;
    let mut ordered = true;
    for value in values.items() {
        let code = value.number();
        if operator.text() == "In" && code == 0 {
            errors.invalid(&value, "must not be 0 for the In operator");
        }
        if before == Some(code) {
            errors.duplicate(&value);
        }
        ordered &= before.is_none_or(|before| before <= code);
        before = Some(code);
    }
    if !ordered {
        errors.invalid(&values, "must be ordered");
    }
}

/// Checks the success policy.
pub(super) fn success(spec: &Field<'_, '_>, errors: &mut Errors) {
    let policy = spec.get("successPolicy");
    if !policy.present() {
        return;
    }
    if spec.get("completionMode").text() != "Indexed" {
        errors.invalid(&policy, "requires indexed completion mode");
        return;
    }
    let rules = policy.get("rules");
    if rules.is_empty() {
        errors.required(&rules, "at least one rules must be specified when the successPolicy is specified");
    } else if rules.len() > MOST_RULES {
        errors.too_many(&rules, MOST_RULES);
    }
    let completions = spec.get("completions").number();
    for rule in rules.items() {
        let (count, indexes) = (rule.get("succeededCount"), rule.get("succeededIndexes"));
        if !count.present() && !indexes.present() {
            errors.required(&rule, "at least one of succeededCount or succeededIndexes must be specified");
        }
        let mut most = completions;
        if indexes.present() {
            match how_many(indexes.text(), completions) {
                Ok(number) => most = number,
                Err(complaint) => errors.invalid(&indexes, format!("error parsing succeededIndexes: {complaint}")),
            }
        }
        if !count.present() {
            continue;
        }
        if count.number() <= 0 {
            errors.invalid(&count, "must be greater than zero");
        }
        if count.number() > completions {
            errors.invalid(
                &count,
                format!("must be less than or equal to {completions} (the number of specified completions)"),
            );
        } else if count.number() > most {
            let detail = format!(
                "must be less than or equal to {most} (the number of indexes in the specified succeededIndexes field)"
            );
            errors.invalid(&count, detail);
        }
    }
}

/// How many indexes a text such as `1,3-5` names, which must ascend and be below `end`.
pub(super) fn how_many(text: &str, end: i64) -> Result<i64, String> {
    let (mut count, mut before) = (0, -1);
    for part in text.split(',').filter(|_| !text.is_empty()) {
        let pieces: Vec<&str> = part.split('-').collect();
        let number = |piece: &str| -> Result<i64, String> {
            let read = piece.parse::<i64>().ok().filter(|_| piece.bytes().all(|b| b.is_ascii_digit()));
            let index = read.ok_or_else(|| format!("cannot convert string to integer for index: {piece:?}"))?;
            if index >= end { Err(format!("too large index: {piece:?}")) } else { Ok(index) }
        };
        let (first, last) = match pieces[..] {
            [one] => (number(one)?, number(one)?),
            [first, last] => (number(first)?, number(last)?),
            _ => {
                return Err(format!(
                    "the fragment {part:?} violates the requirement that an index interval can have at most two parts separated by '-'"
                ));
            }
        };
        if first <= before || (pieces.len() == 2 && last <= first) {
            return Err(format!(
                "non-increasing order, previous: {}, current: {}",
                before.max(first),
                if first <= before { first } else { last }
            ));
        }
        count += last - first + 1;
        before = last;
    }
    Ok(count)
}
