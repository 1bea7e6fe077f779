//! One seed, one history: in two processes, of which one has to share the machine.

use std::{
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

/// What a run of the simulation prints.
fn run(seed: u64) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_windlass-sim")).arg(seed.to_string()).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        output.status.success(),
        "cargo xtask sim --seed {seed}\n{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    text
}

#[test]
fn one_seed_is_one_history_in_every_process_and_under_every_load() {
    for seed in [1, 7] {
        let calm = run(seed);
        let busy = Arc::new(AtomicBool::new(true));
        let load: Vec<_> = (0..4)
            .map(|_| {
                let busy = Arc::clone(&busy);
                std::thread::Builder::new().spawn(move || while busy.load(Ordering::Relaxed) {}).unwrap()
            })
            .collect();
        let loaded = run(seed);
        busy.store(false, Ordering::Relaxed);
        load.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!(calm, loaded, "seed {seed}");
    }
}

#[test]
fn another_seed_is_another_history() {
    let hash = |text: &str| text.trim_end().rsplit(' ').next().unwrap().to_owned();
    assert_ne!(hash(&run(2)), hash(&run(3)));
}
