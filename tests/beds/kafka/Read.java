import java.io.BufferedOutputStream;
import java.io.FileDescriptor;
import java.io.FileOutputStream;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

/**
 * Prints a topic as Kafka's console consumer does (Partition:P TAB Offset:O TAB value), read_committed, several times as fast:
 * Kafka's own KafkaConsumer without a group, to the end that the log had when it began. Ends with 3 if it does not get there.
 *
 * Read BOOTSTRAP TOPIC IDLE_MS
 */
public class Read {
  static KafkaConsumer<byte[], byte[]> consumer(String bootstrap, String isolation) {
    Properties p = new Properties();
    p.put("bootstrap.servers", bootstrap);
    p.put("isolation.level", isolation);
    p.put("auto.offset.reset", "earliest");
    p.put("enable.auto.commit", "false");
    p.put("enable.metrics.push", "false");
    p.put("max.poll.records", "20000");
    p.put("fetch.max.bytes", "33554432");
    p.put("max.partition.fetch.bytes", "8388608");
    p.put("receive.buffer.bytes", "1048576");
    return new KafkaConsumer<>(p, new ByteArrayDeserializer(), new ByteArrayDeserializer());
  }

  /** The end of the log, open transactions included: only read_uncommitted is told it. */
  static Map<TopicPartition, Long> ends(String bootstrap, String topic) {
    try (KafkaConsumer<byte[], byte[]> all = consumer(bootstrap, "read_uncommitted")) {
      return all.endOffsets(partitions(all, topic), Duration.ofSeconds(60));
    }
  }

  static List<TopicPartition> partitions(KafkaConsumer<byte[], byte[]> consumer, String topic) {
    return consumer.partitionsFor(topic, Duration.ofSeconds(60)).stream()
        .map(info -> new TopicPartition(topic, info.partition())).toList();
  }

  static boolean there(KafkaConsumer<byte[], byte[]> consumer, Map<TopicPartition, Long> ends) {
    return ends.entrySet().stream().allMatch(e -> e.getValue() == 0 || consumer.position(e.getKey()) >= e.getValue());
  }

  public static void main(String[] args) throws Exception {
    String bootstrap = args[0];
    String topic = args[1];
    long idle = Long.parseLong(args[2]);
    Map<TopicPartition, Long> ends = ends(bootstrap, topic);
    OutputStream out = new BufferedOutputStream(new FileOutputStream(FileDescriptor.out), 1 << 20);
    try (KafkaConsumer<byte[], byte[]> consumer = consumer(bootstrap, "read_committed")) {
      consumer.assign(ends.keySet());
      consumer.seekToBeginning(ends.keySet());
      long heard = System.nanoTime();
      while (!there(consumer, ends)) {
        boolean any = false;
        for (ConsumerRecord<byte[], byte[]> record : consumer.poll(Duration.ofMillis(200))) {
          any = true;
          String where = "Partition:" + record.partition() + "\tOffset:" + record.offset() + "\t";
          out.write(where.getBytes(StandardCharsets.US_ASCII));
          out.write(record.value() == null ? "null".getBytes(StandardCharsets.US_ASCII) : record.value());
          out.write('\n');
        }
        if (any) heard = System.nanoTime();
        if (System.nanoTime() - heard > idle * 1_000_000) {
          ends.forEach((tp, end) -> System.err.println(tp + ": at " + consumer.position(tp) + ", the end is " + end));
          out.flush();
          System.exit(3);
        }
      }
    }
    out.flush();
  }
}
