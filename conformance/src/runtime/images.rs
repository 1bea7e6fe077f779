//! Images.

use futures::FutureExt;
use windlass_kernel::{
    ErrorKind,
    runtime::{ImageRef, Info, Pull},
};

use super::{Check, ContainerState, Fixture, Program, always};

pub(super) const CHECKS: &[Check] = &[
    Check {
        name: "an_absent_image_is_none",
        clause: "ImageStatus: no image in the answer where it is not present",
        needs: always,
        run: |f| absent(f).boxed(),
    },
    Check {
        name: "every_name_finds_the_same_image",
        clause: "Image: id, repo_tags, repo_digests; each of them names it",
        needs: always,
        run: |f| names(f).boxed(),
    },
    Check {
        name: "removing_an_absent_image_succeeds",
        clause: "RemoveImage: idempotent, no error where the image was removed before",
        needs: always,
        run: |f| remove(f).boxed(),
    },
    Check {
        name: "a_failed_pull_takes_nothing_away",
        clause: "PullImage: an error where there is no such image",
        needs: always,
        run: |f| pull(f).boxed(),
    },
    Check {
        name: "a_pulled_image_is_there_until_it_is_removed",
        clause: "PullImage: image_ref names what was pulled; ListImages, ImageStatus, RemoveImage",
        needs: without_pull,
        run: |f| pulled(f).boxed(),
    },
    Check {
        name: "a_registry_is_told_the_secret_that_was_given",
        clause: "PullImageRequest.auth: the credentials for the registry",
        needs: |f| {
            let secret = f.pull.as_ref().is_some_and(|pull| pull.auth.is_some());
            without_pull(f).or((!secret).then_some("the image to pull needs no secret"))
        },
        run: |f| secret(f).boxed(),
    },
    Check {
        name: "containers_go_on_when_their_image_is_removed",
        clause: "RemoveImage: of an image that containers run from, or a refusal",
        needs: without_pull,
        run: |f| in_use(f).boxed(),
    },
    Check {
        name: "the_images_file_system_is_told",
        clause: "ImageFsInfo: at least one file system",
        needs: always,
        run: |f| filesystems(f).boxed(),
    },
];

fn without_pull(fixture: &Fixture) -> Option<&'static str> {
    fixture.pull.is_none().then_some("there is no image that may be pulled and removed")
}

/// Contract 1, 6: absent is a value, of which nothing is said.
async fn absent(fixture: Fixture) {
    let absent = ImageRef::from("registry.invalid/none:1");
    assert_eq!(fixture.images.image(&absent).await.expect("an answer"), None);
    assert_eq!(fixture.images.image_info(&absent).await.expect("an answer"), Info::new());
    fixture.images.image_info(&fixture.image).await.expect("an image that is there is told of");
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

/// Contract 3, 4: twice each.
async fn pulled(fixture: Fixture) {
    let pull = fixture.pull.clone().expect("the check needs it");
    let mut known: Vec<ImageRef> = Vec::new();
    for _ in 0..2 {
        let name = fixture.images.pull(&pull).await.expect("an image is pulled");
        let image = fixture.images.image(&name).await.expect("an answer").expect("what was pulled is there");
        let by_name = fixture.images.image(&pull.image).await.expect("an answer");
        assert_eq!(by_name.as_ref(), Some(&image), "by the name that was pulled");
        assert!(fixture.images.images().await.expect("a list").contains(&image));
        known.push(ImageRef::from(&image.id));
    }
    assert_eq!(known[0], known[1], "pulling again is another image");
    for _ in 0..2 {
        fixture.images.remove_image(&known[0]).await.expect("an image is removed");
    }
    for name in [&known[0], &pull.image] {
        assert_eq!(fixture.images.image(name).await.expect("an answer"), None, "by {name}");
    }
}

/// Contract 4: without it nothing is pulled, and with it everything is.
async fn secret(fixture: Fixture) {
    let pull = fixture.pull.clone().expect("the check needs it");
    let without = Pull { auth: None, ..pull.clone() };
    fixture.images.pull(&without).await.expect_err("the registry asks for a secret");
    let mut wrong = pull.clone();
    if let Some(auth) = &mut wrong.auth {
        auth.password += "-not";
        auth.basic.clear();
    }
    fixture.images.pull(&wrong).await.expect_err("the registry asks for another secret");
    assert_eq!(fixture.images.image(&pull.image).await.expect("an answer"), None, "a refused pull left an image");
    let name = fixture.images.pull(&pull).await.expect("with its secret an image is pulled");
    fixture.images.remove_image(&name).await.expect("an image is removed");
}

/// Contract 3: whether or not the runtime lets go of it.
async fn in_use(fixture: Fixture) {
    let pull = fixture.pull.clone().expect("the check needs it");
    let name = fixture.images.pull(&pull).await.expect("an image is pulled");
    let pod = fixture.sandbox("a").await;
    let mut config = fixture.container_config("web", &Program::Wait);
    config.image = pull.image.clone();
    let id = pod.create(&config).await;
    fixture.runtime.start_container(&id).await.expect("a container starts from a pulled image");
    if let Err(error) = fixture.images.remove_image(&name).await {
        assert!(error.is(ErrorKind::Conflict), "an image in use is refused with {:?}: {error}", error.kind());
    }
    let done = fixture.runtime.exec(&id, &(fixture.command)(&Program::Exit(0)), None).await;
    assert_eq!(done.expect("a command runs").code, 0);
    assert_eq!(fixture.status(&id).await.container.state, ContainerState::Running);
    pod.remove().await;
    fixture.images.remove_image(&name).await.expect("an image that nobody needs is removed");
}

/// Contract 5: at least one file system.
async fn filesystems(fixture: Fixture) {
    assert!(!fixture.images.filesystems().await.expect("an answer").is_empty());
}
