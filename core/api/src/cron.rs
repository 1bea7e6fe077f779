//! Schedules of CronJobs: five fields or a word, read and refused as Kubernetes does, and the times that they name.
//!
//! A schedule names the whole minutes whose local time matches its fields. So a time that a change of the clocks skips
//! does not come, and one that comes twice counts twice. Which of these times are acted on is the controller's business.

mod field;

use std::time::Duration;

use jiff::{
    Timestamp, ToSpan, Zoned,
    tz::{TimeZone, TimeZoneDatabase},
};

use self::field::{DAYS, Field, HOURS, MINUTES, MONTHS, WEEKDAYS};

/// A schedule that comes less often than this never comes.
const YEARS: i16 = 5;

/// A schedule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    times: Times,
    /// The time zone that the text itself names.
    zone: Option<TimeZone>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Times {
    Fields(Box<Fields>),
    /// `@every`.
    Every(Duration),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Fields {
    minute: Field,
    hour: Field,
    day: Field,
    month: Field,
    weekday: Field,
}

/// The time zone of a name, from the database that is part of the program; `None` where there is none of that name.
#[must_use]
pub fn zone(name: &str) -> Option<TimeZone> {
    if matches!(name, "UTC" | "") {
        return Some(TimeZone::UTC);
    }
    TimeZoneDatabase::bundled().get(name).ok()
}

impl Schedule {
    /// Reads a schedule (`spec.schedule` of a CronJob).
    ///
    /// # Errors
    ///
    /// What is wrong with the text, in the words that clients know.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut rest = text.trim();
        let mut own = None;
        if let Some(named) = rest.strip_prefix("TZ=").or_else(|| rest.strip_prefix("CRON_TZ=")) {
            let (name, after) = named.split_once(' ').unwrap_or((named, ""));
            let found = zone(name).ok_or_else(|| format!("provided bad location {name}: unknown time zone {name}"))?;
            (own, rest) = (Some(found), after.trim());
        }
        if rest.is_empty() {
            return Err("empty spec string".into());
        }
        let times = if rest.starts_with('@') { word(rest)? } else { Times::Fields(Box::new(Fields::parse(rest)?)) };
        Ok(Self { times, zone: own })
    }

    /// The first time after `after`, in the schedule's own time zone or else in `zone`; `None` where none comes.
    #[must_use]
    pub fn next(&self, after: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        match &self.times {
            Times::Fields(fields) => fields.next(&after.to_zoned(self.zone.clone().unwrap_or_else(|| zone.clone()))),
            Times::Every(span) => {
                let whole = Timestamp::from_second(after.as_second()).ok()?;
                whole.checked_add(*span).ok()
            }
        }
    }
}

fn word(text: &str) -> Result<Times, String> {
    let fields = match text {
        "@yearly" | "@annually" => "0 0 1 1 *",
        "@monthly" => "0 0 1 * *",
        "@weekly" => "0 0 * * 0",
        "@daily" | "@midnight" => "0 0 * * *",
        "@hourly" => "0 * * * *",
        _ => {
            let span = text.strip_prefix("@every ").ok_or_else(|| format!("unrecognized descriptor: {text}"))?;
            let span = crate::duration::parse(span)
                .ok_or_else(|| format!("failed to parse duration {text}: invalid duration"))?;
            return Ok(Times::Every(Duration::from_secs(span.as_secs().max(1))));
        }
    };
    Ok(Times::Fields(Box::new(Fields::parse(fields)?)))
}

impl Fields {
    fn parse(text: &str) -> Result<Self, String> {
        let words: Vec<&str> = text.split_whitespace().collect();
        let [minute, hour, day, month, weekday] = words[..] else {
            return Err(format!("expected exactly 5 fields, found {}: [{}]", words.len(), words.join(" ")));
        };
        Ok(Self {
            minute: Field::parse(minute, &MINUTES)?,
            hour: Field::parse(hour, &HOURS)?,
            day: Field::parse(day, &DAYS)?,
            month: Field::parse(month, &MONTHS)?,
            weekday: Field::parse(weekday, &WEEKDAYS)?,
        })
    }

    fn next(&self, after: &Zoned) -> Option<Timestamp> {
        let last = after.year().saturating_add(YEARS);
        let minute = after.timestamp().as_second().div_euclid(60) + 1;
        let mut at = Timestamp::from_second(minute * 60).ok()?.to_zoned(after.time_zone().clone());
        while at.year() <= last {
            if !self.month.has(at.month()) {
                at = at.first_of_month().ok()?.checked_add(1.month()).ok()?.start_of_day().ok()?;
            } else if !self.on_day(&at) {
                at = at.tomorrow().ok()?.start_of_day().ok()?;
            } else if !self.hour.has(at.hour()) {
                at = at.checked_add((60 - i64::from(at.minute())).minutes()).ok()?;
            } else if !self.minute.has(at.minute()) {
                at = at.checked_add(1.minute()).ok()?;
            } else {
                return Some(at.timestamp());
            }
        }
        None
    }

    /// Whether the day matches: where both day fields say something, either of them will do.
    fn on_day(&self, at: &Zoned) -> bool {
        let (day, weekday) = (self.day.has(at.day()), self.weekday.has(at.weekday().to_sunday_zero_offset()));
        if self.day.any || self.weekday.any { day && weekday } else { day || weekday }
    }
}

#[cfg(test)]
mod tests;
