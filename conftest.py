pytest_plugins = ["katas.lab.plugin", "pytester"]
