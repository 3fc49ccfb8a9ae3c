pytest_plugins = ["katas.lab.runner", "pytester"]
