from conflict_framing.cli import main

if __name__ == "__main__":
    main()
