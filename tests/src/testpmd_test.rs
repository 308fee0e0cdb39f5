use super::received_by_queue;

#[test]
fn received_by_queue_reads_the_final_report() {
    let log = "\
  ------- Forward Stats for RX Port= 0/Queue= 0 -> TX Port= 1/Queue= 0 -------
  RX-packets: 41             TX-packets: 41             TX-dropped: 0

  ------- Forward Stats for RX Port= 1/Queue= 1 -> TX Port= 0/Queue= 1 -------
  RX-packets: 1              TX-packets: 1              TX-dropped: 0

  ---------------------- Forward statistics for port 0  ----------------------
  RX-packets: 41             RX-dropped: 0             RX-total: 41
";
    let received = received_by_queue(log);
    let wanted = [("Port= 0/Queue= 0", 41), ("Port= 1/Queue= 1", 1)];
    assert_eq!(received, wanted.map(|(queue, n)| (queue.to_owned(), n)));
}
