#!/bin/sh
echo "PASS: printed"
exit 1
