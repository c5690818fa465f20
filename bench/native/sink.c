// Receives the generator's datagrams, from a device (a mapped ring of AF_PACKET) or on an ordinary UDP socket, and says
// what became of them. Ends on SIGTERM, after --count datagrams, after --idle-ms without one, or after --ms.
#include "common.h"
#include "sink.h"

#include <arpa/inet.h>
#include <stdio.h>

bool sink_is_over(const struct sink *sink, uint64_t now, uint64_t last_arrival) {
  const struct account *account = &sink->account;
  if (stop_requested) return true;
  if (sink->count > 0 && account->received >= (uint64_t)sink->count) return true;
  if (sink->idle_ms > 0 && account->received > 0 && now - last_arrival > (uint64_t)sink->idle_ms * 1000000) return true;
  return sink->milliseconds > 0 && now - sink->begin > (uint64_t)sink->milliseconds * 1000000;
}

int main(int argc, char **argv) {
  struct sink sink = {.port = 9000, .milliseconds = 60000, .skip_ms = 100, .ring_megabytes = 128};
  const char *netns = NULL, *source = NULL;
  int64_t cpu = -1, nice_level = 0;
  bool on_socket = false;
  const struct option_spec options[] = {
      {"netns", OPTION_TEXT, &netns, "path of the network namespace"},
      {"device", OPTION_TEXT, &sink.device, "device to listen on"},
      {"socket", OPTION_SWITCH, &on_socket, "an ordinary UDP socket instead of a device"},
      {"gro", OPTION_SWITCH, &sink.gro, "with --socket: take merged datagrams (UDP_GRO)"},
      {"port", OPTION_NUMBER, &sink.port, "destination port (9000)"},
      {"source", OPTION_TEXT, &source, "on a device: count frames that have another source address"},
      {"count", OPTION_NUMBER, &sink.count, "end after this many datagrams"},
      {"idle-ms", OPTION_NUMBER, &sink.idle_ms, "end when none has come for this long"},
      {"ms", OPTION_NUMBER, &sink.milliseconds, "end after this time (60000)"},
      {"skip-ms", OPTION_NUMBER, &sink.skip_ms, "what the rate leaves out at the beginning (100)"},
      {"ring-mb", OPTION_NUMBER, &sink.ring_megabytes, "size of the ring (128)"},
      {"cpu", OPTION_NUMBER, &cpu, "run on this processor"},
      {"nice", OPTION_NUMBER, &nice_level, "scheduling priority"},
  };
  parse_options(argc, argv, options, sizeof options / sizeof *options);
  if (source != NULL && inet_pton(AF_INET, source, &sink.account.expected_source) != 1) die("%s is no IPv4 address", source);
  stop_on_signals();
  pin_to_cpu(cpu);
  set_nice(nice_level);
  enter_netns(netns);
  account_prepare();
  sink.begin = sink.account.begin_ns = now_ns();
  uint64_t dropped = on_socket ? receive_from_socket(&sink) : receive_from_ring(&sink);
  account_print(&sink.account, dropped, (uint64_t)sink.skip_ms);
  return 0;
}
