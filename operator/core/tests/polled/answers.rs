use proptest::prelude::*;
use serde_json::{Value, json};
use shoalwatch_core::polled::{AnswerError, read};

fn vector(values: &[&str]) -> Value {
    let series = |value: &&str| json!({"metric": {"job": "x"}, "value": [1_435_781_451.781_f64, value]});
    let series: Vec<Value> = values.iter().map(series).collect();
    success("vector", &json!(series))
}

fn success(kind: &str, result: &Value) -> Value {
    json!({"status": "success", "data": {"resultType": kind, "result": result}, "warnings": ["slow"]})
}

fn of(answer: &Value) -> Result<u64, AnswerError> {
    read(200, answer.to_string().as_bytes())
}

fn category(answer: &Value) -> &'static str {
    of(answer).expect_err("no count").category()
}

#[test]
fn one_series_is_a_count_without_its_fraction() {
    for (text, count) in [
        ("0", 0),
        ("17", 17),
        ("17.9", 17),
        ("1.2e+06", 1_200_000),
        ("9007199254740991", (1 << 53) - 1),
    ] {
        assert_eq!(of(&vector(&[text])), Ok(count), "{text}");
    }
    assert_eq!(of(&success("scalar", &json!([1.5, "8"]))), Ok(8));
}

#[test]
fn what_is_no_count_is_named_and_never_zero() {
    for text in ["NaN", "+Inf", "-Inf", "-1", "9007199254740992", "", "many"] {
        assert_eq!(category(&vector(&[text])), "NotACount", "{text}");
    }
    assert_eq!(category(&vector(&[])), "NoSeries");
    assert_eq!(of(&vector(&["1", "2", "3"])), Err(AnswerError::ManySeries(3)));
    assert_eq!(category(&success("string", &json!([1.5, "8"]))), "NotACount");
    assert_eq!(
        category(&success("matrix", &json!([{"metric": {}, "values": [[1.5, "8"]]}]))),
        "NotACount"
    );
    let histogram = json!([{"metric": {}, "histogram": [1.5, {"count": "8", "sum": "1"}]}]);
    assert_eq!(
        of(&success("vector", &histogram)),
        Err(AnswerError::Type("histogram".to_owned()))
    );
}

#[test]
fn what_a_prometheus_refuses_is_told_in_its_words_on_one_line() {
    let said = format!("invalid parameter \"query\": 1:5:\n{}", "x".repeat(1_000));
    let answer = json!({"status": "error", "errorType": "bad_data", "error": said});
    let error = read(400, answer.to_string().as_bytes()).unwrap_err();
    assert_eq!(error.category(), "QueryRefused");
    let told = error.to_string();
    assert!(
        told.contains("(bad_data: invalid parameter \"query\": 1:5: xxx"),
        "{told}"
    );
    assert!(told.len() < 300 && !told.contains('\n'), "{told}");
}

#[test]
fn what_no_prometheus_says_is_not_repeated() {
    let page = b"<html>the secret is 42</html>";
    assert_eq!(read(404, page), Err(AnswerError::Status(404)));
    let error = read(200, page).unwrap_err();
    assert_eq!(
        (error.category(), error.to_string().contains("42")),
        ("NoPrometheus", false)
    );
    assert_eq!(
        category(&json!({"status": "success", "data": {"resultType": "vector"}})),
        "NoPrometheus"
    );
    assert_eq!(
        category(&json!({"status": "success", "data": {"resultType": "new", "result": []}})),
        "NoPrometheus"
    );
}

proptest! {
    #[test]
    fn any_bytes_are_an_answer_or_an_error(status in 100_u16..600, bytes in prop::collection::vec(any::<u8>(), 0..256)) {
        prop_assert!(read(status, &bytes).is_err() || !bytes.is_empty());
    }

    #[test]
    fn every_whole_number_below_two_to_the_53_is_read_exactly(count in 0_u64..1 << 53) {
        prop_assert_eq!(of(&vector(&[&count.to_string()])), Ok(count));
    }
}
