"""Whether hosts are ready: this one by :mod:`trajmake.hosts.checks`, many by :mod:`trajmake.hosts.fleet`."""
