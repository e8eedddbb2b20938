<?php
// A program that says how PHP was set up, and then waits. It knows nothing of tracing.
echo 'started with ', getenv('PHP_INI_SCAN_DIR'), "\n";
echo 'packages in ', getenv('DD_LOADER_PACKAGE_PATH'), "\n";
echo 'settings loaded: ', get_cfg_var('stand_in.loaded'), "\n";
while (true) {
	sleep(1000);
}
