module shoalwatch.dev/e2e/apps

go 1.25
