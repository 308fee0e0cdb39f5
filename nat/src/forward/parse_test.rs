use super::*;

#[track_caller]
fn canonical(text: &str) -> String {
    let forward: Forward = text
        .parse()
        .unwrap_or_else(|wrong| panic!("{text}: {wrong}"));
    let written = forward.to_string();
    assert_eq!(written.parse(), Ok(forward), "{written} is read back");
    written
}

#[test]
fn our_spelling_says_all_there_is() {
    for (text, same) in [
        ("8080=web:80", "tcp:8080=web:80"),
        ("tcp:8080=web:80", "tcp:8080=web:80"),
        ("tcp:8080 -> Web:80", "tcp:8080=web:80"),
        ("udp:53=10.0.2.15", "udp:53=10.0.2.15:53"),
        ("tcp:22=", "tcp:22=:22"),
        ("tcp:2222=:22", "tcp:2222=:22"),
        ("tcp:127.0.0.1:8080=web:80", "tcp:127.0.0.1:8080=web:80"),
        ("tcp:[::1]:8080=[fd00::5]:80", "tcp:[::1]:8080=[fd00::5]:80"),
        ("tcp:[::1]:8080=[fd00::5]", "tcp:[::1]:8080=[fd00::5]:8080"),
        ("tcp:%eth0:8080=web", "tcp:%eth0:8080=web:8080"),
        (
            "tcp:192.0.2.1%eth0:8080=web",
            "tcp:192.0.2.1%eth0:8080=web:8080",
        ),
        ("tcp:[fe80::1%eth0]:80=web", "tcp:[fe80::1]%eth0:80=web:80"),
        ("tcp:*:80=web", "tcp:80=web:80"),
        ("udp:5000-5010=db:6000", "udp:5000-5010=db:6000"),
        (
            "tcp:80=web:80,preserve-source",
            "tcp:80=web:80,preserve-source",
        ),
    ] {
        assert_eq!(canonical(text), same, "{text}");
    }
}

#[test]
fn qemus_hostfwd_is_understood() {
    for (text, same) in [
        ("hostfwd=tcp::2222-:22", "tcp:2222=:22"),
        ("tcp::2222-:22", "tcp:2222=:22"),
        ("::2222-:22", "tcp:2222=:22"),
        (
            "udp:127.0.0.1:69-10.0.2.15:69",
            "udp:127.0.0.1:69=10.0.2.15:69",
        ),
        (
            "hostfwd=tcp:[::1]:80-[fd00::15]:8080",
            "tcp:[::1]:80=[fd00::15]:8080",
        ),
    ] {
        assert_eq!(canonical(text), same, "{text}");
    }
}

#[test]
fn passts_options_are_understood() {
    let all = |text: &str| -> Vec<String> {
        let all = Forward::parse_all(text).unwrap_or_else(|wrong| panic!("{text}: {wrong}"));
        all.iter().map(ToString::to_string).collect()
    };
    assert_eq!(all("-t 22"), ["tcp:22=:22"]);
    assert_eq!(all("-u 53:5353"), ["udp:53=:5353"]);
    assert_eq!(
        all("--tcp-ports=127.0.0.1%lo/22,80-82:8080-8082"),
        ["tcp:127.0.0.1%lo:22=:22", "tcp:127.0.0.1%lo:80-82=:8080"]
    );
    assert_eq!(all("-t ::1/80"), ["tcp:[::1]:80=:80"]);
    assert_eq!(Forward::parse_all("-t 1-9,~5"), Err(Wrong::Excluded));
    assert_eq!(Forward::parse_all("-t 1-9:1-8"), Err(Wrong::Lengths));
    assert_eq!("-t 1,2".parse::<Forward>(), Err(Wrong::Several));
}

#[test]
fn nonsense_is_told_by_its_part() {
    for (text, wrong) in [
        ("", Wrong::Shape),
        ("8080", Wrong::Shape),
        ("sctp::1-:1", Wrong::Shape),
        ("tcp:0=web", Wrong::Port("0".into())),
        ("tcp:65536=web", Wrong::Port("65536".into())),
        ("tcp:+80=web", Wrong::Port("+80".into())),
        ("tcp:=web", Wrong::Port(String::new())),
        ("tcp:80=web:x", Wrong::Port("x".into())),
        ("tcp:90-80=web", Wrong::Backwards(90, 80)),
        ("tcp:1-10=web:65530", Wrong::TooFar),
        ("tcp:1.2.3:80=web", Wrong::Address("1.2.3".into())),
        (
            "tcp:%an-interface-of-linux:80=web",
            Wrong::Interface("an-interface-of-linux".into()),
        ),
        ("tcp:80=we b:80", Wrong::Guest("we b".into())),
        ("tcp:80=10.0.2:80", Wrong::Guest("10.0.2".into())),
        ("tcp:80=web:80,preserve", Wrong::Option("preserve".into())),
    ] {
        assert_eq!(text.parse::<Forward>(), Err(wrong), "{text}");
    }
}
