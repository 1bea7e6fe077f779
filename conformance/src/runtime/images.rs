//! Images.

use futures::FutureExt;
use windlass_kernel::runtime::{ImageRef, Pull};

use super::{Check, Fixture};

pub(super) const CHECKS: &[Check] = &[
    Check { name: "an_absent_image_is_none", run: |f| absent(f).boxed() },
    Check { name: "every_name_finds_the_same_image", run: |f| names(f).boxed() },
    Check { name: "removing_an_absent_image_succeeds", run: |f| remove(f).boxed() },
    Check { name: "a_failed_pull_takes_nothing_away", run: |f| pull(f).boxed() },
    Check { name: "the_images_file_system_is_told", run: |f| filesystems(f).boxed() },
];

/// Contract 1: absent is a value.
async fn absent(fixture: Fixture) {
    let absent = ImageRef::from("registry.invalid/none:1");
    assert_eq!(fixture.images.image(&absent).await.expect("an answer"), None);
}

/// Contract 2: one image, many names.
async fn names(fixture: Fixture) {
    let image = fixture.images.image(&fixture.image).await.expect("an answer").expect("the suite's image is there");
    assert!(image.size > 0 && image.tags.iter().any(|tag| tag == fixture.image.as_str()), "{image:?}");
    let names = image.tags.iter().chain(&image.digests).map(|name| ImageRef::from(name.as_str()));
    for name in names.chain([ImageRef::from(&image.id)]) {
        assert_eq!(fixture.images.image(&name).await.expect("an answer").as_ref(), Some(&image), "by {name}");
    }
    assert!(fixture.images.images().await.expect("a list").contains(&image));
}

/// Contract 3: gone is success.
async fn remove(fixture: Fixture) {
    for _ in 0..2 {
        fixture.images.remove_image(&"registry.invalid/none:1".into()).await.expect("removing what is gone succeeds");
    }
}

/// Contract 4: a failed pull leaves what was there.
async fn pull(fixture: Fixture) {
    let before = fixture.images.image(&fixture.image).await.expect("an answer");
    // Nothing listens on the port of discard.
    let pull = Pull { image: "127.0.0.1:9/none:1".into(), ..Pull::default() };
    fixture.images.pull(&pull).await.expect_err("there is no such registry");
    assert_eq!(fixture.images.image(&fixture.image).await.expect("an answer"), before);
}

/// Contract 5: at least one file system.
async fn filesystems(fixture: Fixture) {
    assert!(!fixture.images.filesystems().await.expect("an answer").is_empty());
}
