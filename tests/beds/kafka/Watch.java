import java.time.Duration;
import java.util.Collection;
import java.util.Map;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.TopicPartition;

/**
 * Looks at a topic that somebody writes, at little cost.
 *
 * Watch await BOOTSTRAP TOPIC RECORDS SECONDS, Watch span BOOTSTRAP TOPIC: as kafka.sh tells.
 */
public class Watch {
  static final long STALLED_NANOS = 60_000_000_000L;

  static String await(KafkaConsumer<byte[], byte[]> consumer, String topic, long records, long seconds) throws Exception {
    Collection<TopicPartition> partitions = Read.partitions(consumer, topic);
    consumer.endOffsets(partitions, Duration.ofSeconds(60));
    System.out.println("watching");
    long before = 0;
    long grew = System.nanoTime();
    long began = 0;
    while (true) {
      long now = System.nanoTime();
      Map<TopicPartition, Long> ends = consumer.endOffsets(partitions, Duration.ofSeconds(60));
      long there = ends.values().stream().mapToLong(Long::longValue).sum();
      if (there >= records) return "all " + there;
      if (there > before) grew = now;
      if (there > 0 && before == 0) began = now;
      if (there > 0 && now - began > seconds * 1_000_000_000L) return "cut " + there;
      if (now - grew > STALLED_NANOS) return "stalled " + there;
      before = there;
      Thread.sleep(1000);
    }
  }

  static String span(KafkaConsumer<byte[], byte[]> consumer, String topic) {
    Map<TopicPartition, Long> ends = consumer.endOffsets(Read.partitions(consumer, topic), Duration.ofSeconds(60));
    consumer.assign(ends.keySet());
    consumer.seekToBeginning(ends.keySet());
    long first = Long.MAX_VALUE;
    long last = 0;
    while (!Read.there(consumer, ends)) {
      for (ConsumerRecord<byte[], byte[]> record : consumer.poll(Duration.ofMillis(200))) {
        first = Math.min(first, record.timestamp());
        last = Math.max(last, record.timestamp());
      }
    }
    return first + " " + last;
  }

  public static void main(String[] args) throws Exception {
    try (KafkaConsumer<byte[], byte[]> consumer = Read.consumer(args[1], "read_uncommitted")) {
      System.out.println(
          args[0].equals("await")
              ? await(consumer, args[2], Long.parseLong(args[3]), Long.parseLong(args[4]))
              : span(consumer, args[2]));
    }
  }
}
