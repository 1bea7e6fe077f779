//! The files of a submission to the conformance programme (`cncf/k8s-conformance`, `instructions.md`), and what a run lacks
//! of one.

use std::fmt::Write;

use windlass_kernel::Result;

use crate::{
    junit,
    list::List,
    plan::Plan,
    record::{self, Folder, Outcome, Verdict},
    run::Options,
    spec::Spec,
};

/// What `PRODUCT.yaml` has to say.
const FIELDS: [&str; 8] =
    ["vendor", "name", "version", "website_url", "documentation_url", "type", "description", "contact_email_address"];

/// Why a run is not one that can be submitted.
pub(crate) fn obstacles(plan: &Plan, options: &Options, outcomes: &[Outcome]) -> Vec<String> {
    let mut found = Vec::new();
    let many = |count: usize, what: &str| format!("{count} {}{what}", if count == 1 { "spec " } else { "specs " });
    if options.focus != List::conformance() {
        found.push("the focus is not [Conformance]".into());
    }
    if !options.part.is_whole() {
        found.push("it is one part of several: put the folders together and run the whole once more".into());
    }
    if !plan.skipped.is_empty() {
        found.push(many(plan.skipped.len(), "left out by lists"));
    }
    let count = |which: fn(&Verdict) -> bool| outcomes.iter().filter(|outcome| which(&outcome.verdict)).count();
    for (count, what) in [
        (plan.len() - outcomes.len().min(plan.len()), "not run"),
        (count(|verdict| matches!(verdict, Verdict::Failed(_))), "failed"),
        (count(|verdict| matches!(verdict, Verdict::Skipped(_))), "skipped by the suite"),
    ] {
        if count > 0 {
            found.push(many(count, what));
        }
    }
    let product = options.product.as_deref().unwrap_or_default();
    let empty: Vec<&str> = FIELDS.into_iter().filter(|field| value(product, field).is_empty()).collect();
    if !empty.is_empty() {
        found.push(format!("PRODUCT.yaml does not say {}", empty.join(", ")));
    }
    found
}

/// The value of a field at the root of a YAML, as far as it stands on its line.
fn value<'y>(yaml: &'y str, field: &str) -> &'y str {
    let own = yaml.lines().find_map(|line| line.strip_prefix(field)?.trim_start().strip_prefix(':'));
    own.unwrap_or_default().trim().trim_matches(['"', '\''])
}

/// Writes `e2e.log`, `junit_01.xml`, `PRODUCT.yaml` and `README.md`.
pub(crate) fn write(
    folder: &Folder,
    plan: &Plan,
    options: &Options,
    outcomes: &[Outcome],
    version: &str,
    obstacles: &[String],
) -> Result<()> {
    let place = folder.path().join("submission");
    std::fs::create_dir_all(&place).map_err(record::cannot_write(&place))?;
    record::put(&place.join("junit_01.xml"), &junit::write(plan, outcomes))?;
    log(folder, plan, outcomes, version)?;
    let blank = || FIELDS.iter().fold(String::new(), |text, field| text + field + ": \"\"\n");
    record::put(&place.join("PRODUCT.yaml"), &options.product.clone().unwrap_or_else(blank))?;
    record::put(&place.join("README.md"), &readme(version, obstacles))
}

/// All logs one after the other, and a last word as ginkgo has it.
fn log(folder: &Folder, plan: &Plan, outcomes: &[Outcome], version: &str) -> Result<()> {
    use std::io::Write as _;
    let path = folder.path().join("submission").join("e2e.log");
    let failed = record::cannot_write(&path);
    let mut file = std::io::BufWriter::new(std::fs::File::create(&path).map_err(&failed)?);
    let mut line = |text: String| file.write_all(text.as_bytes()).map_err(&failed);
    line(format!("Kubernetes e2e suite {version}: {} specs, each in a process of its own\n", plan.len()))?;
    let specs: Vec<&Spec> = plan.parallel.iter().chain(&plan.serial).collect();
    for spec in specs {
        let bytes = std::fs::read(folder.log(spec)).unwrap_or_default();
        line(format!("\n==== {}\n{}", spec.name, String::from_utf8_lossy(&bytes)))?;
    }
    let count = |status: &str| outcomes.iter().filter(|outcome| outcome.verdict.status() == status).count();
    let (passed, lost) = (count("passed"), count("failed"));
    let seconds: f64 = outcomes.iter().map(|outcome| outcome.seconds).sum();
    let total = plan.len() + plan.others + plan.skipped.len();
    let word = if lost == 0 { "SUCCESS!" } else { "FAIL!" };
    let skipped = total - passed - lost;
    line(format!("\nRan {} of {total} Specs in {seconds:.3} seconds\n", passed + lost))?;
    line(format!("{word} -- {passed} Passed | {lost} Failed | 0 Pending | {skipped} Skipped\n"))?;
    line(if lost == 0 { "PASS\n".into() } else { "FAIL\n".into() })?;
    file.flush().map_err(failed)
}

fn readme(version: &str, obstacles: &[String]) -> String {
    let mut text = format!(
        "# Conformance results\n\nThese are the results of the end-to-end suite of Kubernetes {version}.\n\n## How to get \
         them again\n\nTake `e2e.test` of that version, and a kubeconfig of somebody who may do everything:\n\n```sh\nwindlass \
         conform upstream --e2e ./e2e.test --kubeconfig ~/.kube/config --folder results --product PRODUCT.yaml\n```\n\nEach \
         spec is run by a process of its own, chosen by its full name; `e2e.log` has the logs of all, one after the other, and \
         `junit_01.xml` what each process reported.\nSpecs that failed and were run again are there with their last \
         attempt.\n"
    );
    if !obstacles.is_empty() {
        text.push_str("\n## What keeps these results from being submitted\n\n");
        for obstacle in obstacles {
            let _ = writeln!(text, "- {obstacle}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_of_a_product_is_read_from_its_line() {
        let yaml = "vendor: 'Yoyodyne'\nversion:\ncontact_email_address : a@b\n";
        let read = ["vendor", "version", "contact_email_address", "name"].map(|field| value(yaml, field));
        assert_eq!(read, ["Yoyodyne", "", "a@b", ""]);
    }
}
