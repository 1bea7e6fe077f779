use super::*;

/// Checks the times after a time, all in their own notation.
#[track_caller]
fn check(schedule: &str, zone_name: &str, after: &str, expect: &[&str]) {
    let (schedule, zone) = (Schedule::parse(schedule).unwrap(), zone(zone_name).unwrap());
    let mut at: Timestamp = after.parse().unwrap();
    for wanted in expect {
        let next = schedule.next(at, &zone).map(|next| next.to_zoned(zone.clone()));
        assert_eq!(next.map(|next| next.strftime("%a %FT%T%:z").to_string()).as_deref(), Some(*wanted));
        at = wanted.split_once(' ').unwrap().1.parse().unwrap();
    }
}

#[track_caller]
fn check_error(schedule: &str, expect: &str) {
    assert_eq!(Schedule::parse(schedule).unwrap_err(), expect);
}

#[test]
fn fields_are_numbers_names_ranges_lists_and_steps() {
    check(
        "*/15 * * * *",
        "UTC",
        "2012-07-09T14:45:00Z",
        &["Mon 2012-07-09T15:00:00+00:00", "Mon 2012-07-09T15:15:00+00:00"],
    );
    check(
        "20-35/15 * * * *",
        "UTC",
        "2012-07-09T15:00:59Z",
        &["Mon 2012-07-09T15:20:00+00:00", "Mon 2012-07-09T15:35:00+00:00"],
    );
    check(
        "5/20 1,3 * * *",
        "UTC",
        "2012-07-09T01:40:00Z",
        &["Mon 2012-07-09T01:45:00+00:00", "Mon 2012-07-09T03:05:00+00:00"],
    );
    check("0 0 29 FEB ?", "UTC", "2013-01-01T00:00:00Z", &["Mon 2016-02-29T00:00:00+00:00"]);
    check("0 9 * * mon-fri", "UTC", "2026-11-27T10:00:00Z", &["Mon 2026-11-30T09:00:00+00:00"]);
}

#[test]
fn either_day_field_will_do_where_both_say_something() {
    check(
        "0 0 15 * 1",
        "UTC",
        "2012-07-10T00:00:00Z",
        &["Sun 2012-07-15T00:00:00+00:00", "Mon 2012-07-16T00:00:00+00:00"],
    );
    check(
        "0 0 15 * *",
        "UTC",
        "2012-07-10T00:00:00Z",
        &["Sun 2012-07-15T00:00:00+00:00", "Wed 2012-08-15T00:00:00+00:00"],
    );
    // A step asks for something, a star does not.
    check("0 0 1 * */6", "UTC", "2012-07-02T00:00:00Z", &["Sat 2012-07-07T00:00:00+00:00"]);
}

#[test]
fn words_stand_for_fields() {
    check("@hourly", "UTC", "2026-01-01T00:00:00Z", &["Thu 2026-01-01T01:00:00+00:00"]);
    check("@daily", "UTC", "2026-01-01T00:00:00Z", &["Fri 2026-01-02T00:00:00+00:00"]);
    check("@weekly", "UTC", "2026-01-01T00:00:00Z", &["Sun 2026-01-04T00:00:00+00:00"]);
    check("@monthly", "UTC", "2026-01-01T00:00:00Z", &["Sun 2026-02-01T00:00:00+00:00"]);
    check("@yearly", "UTC", "2026-01-01T00:00:00Z", &["Fri 2027-01-01T00:00:00+00:00"]);
    check("@every 1h30m", "UTC", "2026-01-01T00:00:00.5Z", &["Thu 2026-01-01T01:30:00+00:00"]);
}

#[test]
fn a_time_that_the_clocks_skip_does_not_come() {
    let zone = "America/New_York";
    check("30 2 11 3 *", zone, "2012-03-11T00:00:00-05:00", &["Mon 2013-03-11T02:30:00-04:00"]);
    check("0 2 * * *", zone, "2012-03-11T00:00:00-05:00", &["Mon 2012-03-12T02:00:00-04:00"]);
    check("0 * * * *", zone, "2012-03-11T01:00:00-05:00", &["Sun 2012-03-11T03:00:00-04:00"]);
}

#[test]
fn a_time_that_comes_twice_counts_twice() {
    let zone = "America/New_York";
    let both = ["Sun 2012-11-04T01:00:00-04:00", "Sun 2012-11-04T01:00:00-05:00", "Mon 2012-11-05T01:00:00-05:00"];
    check("0 1 * * *", zone, "2012-11-04T00:00:00-04:00", &both);
    check("0 3 * * *", zone, "2012-11-04T00:00:00-04:00", &["Sun 2012-11-04T03:00:00-05:00"]);
    // Half an hour, on Lord Howe Island.
    let both = ["Sun 2026-04-05T01:30:00+11:00", "Sun 2026-04-05T01:30:00+10:30"];
    check("30 1 * * *", "Australia/Lord_Howe", "2026-04-05T00:00:00+11:00", &both);
}

#[test]
fn a_day_may_begin_after_midnight() {
    let next = ["Sun 2018-11-04T01:00:00-02:00"];
    check("0 1 * * *", "America/Sao_Paulo", "2018-11-03T12:00:00-03:00", &next);
    check("0 0 * * *", "America/Sao_Paulo", "2018-11-03T12:00:00-03:00", &["Mon 2018-11-05T00:00:00-02:00"]);
}

#[test]
fn the_text_may_name_a_zone() {
    let schedule = Schedule::parse("CRON_TZ=Asia/Tokyo 0 9 * * *").unwrap();
    let next = schedule.next("2026-01-01T01:00:00Z".parse().unwrap(), &TimeZone::UTC).unwrap();
    assert_eq!(next.to_string(), "2026-01-02T00:00:00Z");
}

#[test]
fn what_never_comes_is_none() {
    let schedule = Schedule::parse("0 0 31 2 *").unwrap();
    assert_eq!(schedule.next("2026-01-01T00:00:00Z".parse().unwrap(), &TimeZone::UTC), None);
}

#[test]
fn bad_schedules_are_refused_in_known_words() {
    check_error("", "empty spec string");
    check_error("* * *", "expected exactly 5 fields, found 3: [* * *]");
    check_error("60 * * * *", "end of range (60) above maximum (59): 60");
    check_error("* * 0 * *", "beginning of range (0) below minimum (1): 0");
    check_error("* * * * 7", "end of range (7) above maximum (6): 7");
    check_error("5-2 * * * *", "beginning of range (5) beyond end of range (2): 5-2");
    check_error("*/0 * * * *", "step of range should be a positive number: */0");
    check_error("1-2-3 * * * *", "too many hyphens: 1-2-3");
    check_error("1/2/3 * * * *", "too many slashes: 1/2/3");
    check_error("x * * * *", "failed to parse int from x: strconv.Atoi: parsing \"x\": invalid syntax");
    check_error("@never", "unrecognized descriptor: @never");
    check_error("TZ=Mars/Base 0 0 * * *", "provided bad location Mars/Base: unknown time zone Mars/Base");
}
