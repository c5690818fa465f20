{
  "variables": { "sanitize%": "false", "faults%": "false" },
  "targets": [
    {
      "target_name": "tapir",
      "sources": [
        "src/module.c",
        "src/errors.c",
        "src/memory.c",
        "src/huge_pages.c",
        "src/namespace.c",
        "src/nursery.c",
        "src/tap.c",
        "src/packet_socket.c",
        "src/channel.c",
        "src/rendezvous.c",
        "src/watch.c",
        "src/netlink.c",
        "src/engine.c",
        "src/engine_memory.c",
        "src/engine_receive.c",
        "src/engine_packet.c",
        "src/engine_ring.c",
        "src/engine_transmit.c",
        "src/ring.c",
        "src/syscalls.c",
        "src/confine.c",
        "src/notify.c"
      ],
      "defines": ["_GNU_SOURCE", "NAPI_VERSION=8"],
      "cflags": ["-std=c11", "-O2", "-Wall", "-Wextra", "-Werror", "-fno-strict-aliasing"],
      "conditions": [
        ["sanitize=='true'", {
          "cflags": ["-O1", "-g", "-fno-omit-frame-pointer", "-fsanitize=address,undefined", "-fno-sanitize-recover=undefined"],
          "ldflags": ["-fsanitize=address,undefined"]
        }],
        ["faults=='true'", {
          "defines": ["TAPIR_FAULTS"],
          "sources": ["src/faults.c"]
        }]
      ]
    }
  ]
}
