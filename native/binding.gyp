{
  "targets": [
    {
      "target_name": "tapir",
      "sources": [
        "src/module.c",
        "src/errors.c",
        "src/memory.c",
        "src/namespace.c",
        "src/tap.c",
        "src/packet_socket.c",
        "src/channel.c",
        "src/engine.c",
        "src/engine_receive.c",
        "src/engine_transmit.c"
      ],
      "defines": ["_GNU_SOURCE", "NAPI_VERSION=8"],
      "cflags": ["-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror", "-Wno-unused-parameter", "-fno-strict-aliasing"]
    }
  ]
}
