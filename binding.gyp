{
  "targets": [{
    "target_name": "fimbria",
    "sources": [
      "<!@(node -p \"require('fs').readFileSync('native/sources.txt','utf8').trim().split('\\n').map(s=>'native/'+s).join(' ')\")"
    ],
    "include_dirs": ["<!(node -p \"require('node-addon-api').include_dir\")"],
    "defines": ["NAPI_VERSION=9", "NODE_ADDON_API_CPP_EXCEPTIONS_ALL", "NODE_API_SWALLOW_UNTHROWABLE_EXCEPTIONS", "_GNU_SOURCE"],
    "cflags": ["<!@(pkg-config --cflags libbpf)", "-fvisibility=hidden", "-Wno-cast-function-type", "-Wno-missing-field-initializers"],
    "cflags_cc!": ["-fno-exceptions"],
    "cflags_cc": ["-std=gnu++17", "-fexceptions", "-Wall", "-Wextra"],
    "libraries": ["<!@(pkg-config --libs libbpf)"]
  }]
}
